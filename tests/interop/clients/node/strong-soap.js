// Makes SOAP calls with the package `strong-soap`. Arguments: the SOAP version, then NAME=ADDRESS of each contract.
"use strict";
const { soap, QName } = require("strong-soap");
const { serve, readArguments, textOf, nameTypes } = require("./driver");

const { version, contracts } = readArguments();
const clients = {};

function toNode(value, namespace) {
  if (value === null || typeof value !== "object") return value;
  if ("of" in value) return { [value.of]: value.items.map((item) => toNode(item, namespace)) };
  const { "xsi:type": type, ...members } = value;
  return type === undefined ? members : { $attributes: { $xsiType: `{${namespace}}${type}` }, ...members };
}

function describe(fault) {
  const code = fault.faultcode ?? fault.Code.Value;
  const text = fault.faultstring ?? fault.Reason.Text.$value ?? fault.Reason.Text;
  return { code, text, detail: textOf(fault.detail ?? fault.Detail) || null };
}

function call(request) {
  const client = clients[request.service];
  client.clearSoapHeaders();
  if (request.header) {
    const { name, members } = request.header;
    // The content and the name apart: a header that has its name within would be wrapped twice.
    client.addSoapHeader(members, new QName(request.namespace, name));
  }
  client.setEndpoint(request.address ?? client.published);
  // It would send null as an empty element.
  const present = Object.entries(request.arguments).filter(([, value]) => value !== null);
  const given = present.map(([name, value]) => [name, toNode(value, request.namespace)]);
  const port = client[request.service][request.service + (version === "1.2" ? "Soap12" : "Soap")];
  return new Promise((resolve) => {
    port[request.operation](Object.fromEntries(given), (error, result) => {
      const fault = error?.root?.Envelope?.Body?.Fault ?? error?.Fault ?? result?.Fault;
      if (fault) resolve({ fault: describe(fault) });
      else if (error) resolve({ error: String(error.stack ?? error) });
      else resolve({ value: nameTypes(result?.[`${request.operation}Result`] ?? null) });
    });
  });
}

function createClient(address) {
  const options = version === "1.2" ? { forceSoap12Headers: true } : {};
  return new Promise((resolve, reject) => {
    soap.createClient(address, options, (error, client) => (error ? reject(error) : resolve(client)));
  });
}

async function main() {
  for (const [name, address] of contracts) {
    clients[name] = await createClient(address);
    clients[name].published = address.split("?")[0];
  }
  await serve(call);
}

main();
