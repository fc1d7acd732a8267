// Reads calls as lines of JSON from the standard input and writes the answers, one after the other.
"use strict";
const readline = require("node:readline");

/**
 * @param {(request: object) => Promise<object>} call makes one call.
 */
async function serve(call) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await call(JSON.parse(line))) + "\n");
  }
}

/** Returns the SOAP version and the contracts' addresses by service, from the command line. */
function readArguments() {
  const [version, ...contracts] = process.argv.slice(2);
  return { version, contracts: contracts.map((contract) => contract.split(/=(.*)/s).slice(0, 2)) };
}

/** Joins all text within a value, as a program would find it in a fault's detail. */
function textOf(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .filter(([name]) => !["attributes", "$attributes", "xmlns"].includes(name))
    .map(([, member]) => textOf(member))
    .join("");
}

/** Returns a value with the types of its parts under `xsi:type`, and null for what is nil. */
function nameTypes(value) {
  if (Array.isArray(value)) return value.map(nameTypes);
  if (value === null || typeof value !== "object") return value;
  const { attributes, $attributes, ...members } = value;
  const found = attributes ?? $attributes ?? {};
  if ("xsi:nil" in found || "$xsiNil" in found) return null;
  const named = Object.entries(members).map(([name, member]) => [name, nameTypes(member)]);
  const type = found["xsi:type"] ?? found.$xsiType?.type;
  return Object.fromEntries(type ? [["xsi:type", type.split(":").pop()], ...named] : named);
}

module.exports = { serve, readArguments, textOf, nameTypes };
