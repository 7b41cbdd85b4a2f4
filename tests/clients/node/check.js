// What the checks in JavaScript share: where the server is, waiting for a condition, what is asserted.
'use strict';

const assert = require('node:assert/strict');

const port = Number(process.env.SERVER_PORT);
const PATIENCE_MS = 60000;

/** Waits until the probe gives something true, and gives that. */
async function eventually(what, probe) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await probe();
    if (found) return found;
    assert.ok(Date.now() < deadline, `did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** The promise has to be rejected with an error of this text. */
async function refused(promise, text) {
  await assert.rejects(promise, (error) => {
    assert.match(String(error.message), text);
    return true;
  });
}

/** Runs the check; anything that is thrown anywhere ends the process with exit code 1. */
function run(main) {
  process.on('unhandledRejection', (error) => { console.error(error); process.exit(1); });
  main().then(() => { console.log('ok'); process.exit(0); }, (error) => { console.error(error); process.exit(1); });
}

const numbers = (count) => Array.from({ length: count }, (_, number) => number);

module.exports = { assert, eventually, numbers, port, refused, run };
