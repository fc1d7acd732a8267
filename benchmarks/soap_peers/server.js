// The node soap server: node server.js PORT WSDL ROWS
"use strict";
const fs = require("fs");
const http = require("http");
const soap = require("soap");

const [port, wsdl, rows] = process.argv.slice(2);
const table = fs.readFileSync(rows, "utf8").trimEnd().split("\n").map((line) => line.split("\t"));

function checkPassword(headers) {
  const { User, Password } = (headers && headers.Authentication) || {};
  if (User !== "a1" || Password !== "secret") {
    throw { Fault: { faultcode: "soap:Client", faultstring: "The password is wrong.", statusCode: 500 } };
  }
}

function name({ number }, _callback, headers) {
  checkPassword(headers);
  return { NameResult: `number ${number}` };
}

function listRows({ count }, _callback, headers) {
  checkPassword(headers);
  const Row = table.slice(0, count).map(([id, Name, Email, Status, Created]) => ({
    Id: Number(id), Name, Email, Status, Created,
  }));
  return { ListRowsResult: { Row } };
}

const server = http.createServer((_request, response) => response.writeHead(404).end());
// By default it would close connections that were quiet for five seconds.
server.keepAliveTimeout = 0;
server.listen(Number(port), "127.0.0.1", () => {
  const services = { Bench: { BenchSoap: { Name: name, ListRows: listRows } } };
  soap.listen(server, { path: "/Bench.asmx", services, xml: fs.readFileSync(wsdl, "utf8") });
});
