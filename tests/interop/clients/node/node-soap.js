// Makes SOAP calls with the package `soap`. Arguments: the SOAP version, then NAME=ADDRESS of each contract.
"use strict";
const soap = require("soap");
const { serve, readArguments, textOf, nameTypes } = require("./driver");

const { version, contracts } = readArguments();
const clients = {};

function toNode(value) {
  if (value === null || typeof value !== "object") return value;
  if ("of" in value) return { [value.of]: value.items.map(toNode) };
  const { "xsi:type": type, ...members } = value;
  return type === undefined ? members : { attributes: { "xsi:type": `tns:${type}` }, ...members };
}

function describe(fault) {
  const code = fault.faultcode ?? fault.Code.Value;
  const text = fault.faultstring ?? fault.Reason.Text.$value ?? fault.Reason.Text;
  return { code, text, detail: textOf(fault.detail ?? fault.Detail) || null };
}

async function call(request) {
  const client = clients[request.service];
  client.clearSoapHeaders();
  if (request.header) {
    const { name, members } = request.header;
    client.addSoapHeader({ [`tns:${name}`]: toNode(members) }, "", "tns", request.namespace);
  }
  client.setEndpoint(request.address ?? client.published);
  const given = Object.entries(request.arguments).map(([name, value]) => [name, toNode(value)]);
  const port = client[request.service][request.service + (version === "1.2" ? "Soap12" : "Soap")];
  return new Promise((resolve) => {
    port[request.operation](Object.fromEntries(given), (error, result) => {
      const fault = error?.root?.Envelope?.Body?.Fault;
      if (fault) resolve({ fault: describe(fault) });
      else if (error) resolve({ error: String(error) });
      else resolve({ value: nameTypes(result?.[`${request.operation}Result`] ?? null) });
    });
  });
}

async function main() {
  for (const [name, address] of contracts) {
    const options = { forceSoap12Headers: version === "1.2" };
    clients[name] = await soap.createClientAsync(address, options);
    clients[name].published = address.split("?")[0];
  }
  await serve(call);
}

main();
