// A message centre that speaks SMPP 3.4, of npm's `smpp`. It writes what happens as JSON lines, and takes commands as
// JSON lines that say how it treats what comes next.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const [user, password] = process.argv.slice(2);
const treatment = { throttle: 0, refuse: 0, dropAfter: null, receipts: null, early: false, hex: false, error: '000' };
const sessions = new Set();
let last = 99;

const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function receipt(session, pdu, id) {
  const text = `id:${id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 ` +
    `stat:${treatment.receipts} err:${treatment.error} text:...`;
  session.deliver_sm({
    source_addr: pdu.destination_addr,
    source_addr_ton: 1,
    destination_addr: pdu.source_addr,
    esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
    short_message: { message: Buffer.from(text, 'ascii') },
  }, (answer) => tell({ event: 'acknowledged', id, status: answer.command_status }));
}

function submitted(session, pdu) {
  const { message, udh } = pdu.short_message;
  tell({
    event: 'submit', to: pdu.destination_addr, from: pdu.source_addr, ton: pdu.source_addr_ton, text: message,
    udh: udh ? udh.map((part) => part.toString('hex')) : null, coding: pdu.data_coding,
    registered: pdu.registered_delivery,
  });
  if (treatment.dropAfter !== null && --treatment.dropAfter <= 0) {
    treatment.dropAfter = null;
    session.socket.destroy();
    return;
  }
  if (treatment.throttle > 0) {
    treatment.throttle -= 1;
    session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
    return;
  }
  if (treatment.refuse) {
    session.send(pdu.response({ command_status: treatment.refuse }));
    return;
  }
  const number = ++last;
  const named = treatment.hex ? number.toString(16).toUpperCase() : String(number);
  if (treatment.early) receipt(session, pdu, number);
  session.send(pdu.response({ message_id: named }));
  if (treatment.receipts && !treatment.early && pdu.registered_delivery) receipt(session, pdu, number);
}

const server = smpp.createServer((session) => {
  sessions.add(session);
  session.on('bind_transceiver', (pdu) => {
    const welcome = pdu.system_id === user && pdu.password === password;
    tell({ event: 'bind', welcome });
    session.send(pdu.response(welcome ? {} : { command_status: smpp.ESME_RINVPASWD }));
  });
  session.on('submit_sm', (pdu) => submitted(session, pdu));
  session.on('enquire_link', (pdu) => { tell({ event: 'enquire' }); session.send(pdu.response()); });
  session.on('enquire_link_resp', () => tell({ event: 'alive' }));
  session.on('unbind', (pdu) => { session.send(pdu.response()); session.close(); });
  session.on('close', () => sessions.delete(session));
  session.on('error', () => sessions.delete(session));
});

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { command, ...changes } = JSON.parse(line);
  Object.assign(treatment, changes);
  for (const session of sessions) {
    if (command === 'enquire') session.enquire_link();
    if (command === 'unbind') session.unbind();
    if (command === 'drop') session.socket.destroy();
    if (command === 'garbage') session.socket.write(Buffer.from('ffffffff000000000000000000000000', 'hex'));
    if (command === 'strange') session.socket.write(Buffer.from('0000001000000fff0000000000000007', 'hex'));
    if (command === 'message') {
      session.deliver_sm({ source_addr: '393331234567', short_message: { message: Buffer.from('STOP') } },
        (answer) => tell({ event: 'acknowledged', id: null, status: answer.command_status }));
    }
  }
  tell({ event: 'treated' });
}).on('close', () => process.exit(0));

server.listen(0, '127.0.0.1', () => tell({ event: 'listening', port: server.address().port }));
