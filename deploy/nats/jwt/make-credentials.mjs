// Makes what deploy/nats/credentials.conf needs: the keys of an operator and of each account in users.conf,
// services.conf and guests.conf, a credentials file for each of their users, and the server's part, operator.conf.
// Existing keys are reused. See the head of credentials.conf.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { encodeAccount, encodeActivation, encodeOperator, encodeUser, fmtCreds } from "@nats-io/jwt";
import { createAccount, createOperator, createUser, fromSeed } from "@nats-io/nkeys";

const USAGE = `Usage: node make-credentials.mjs OUT [--days N]

  OUT       folder for the credentials files, the server's part (operator.conf) and the signing keys (*.nk)
  --days N  days until the users' credentials expire (default: never)`;

/** The account of the pipeline, named as in nats.conf; the server's own account. */
const PIPELINE = "CANDLEWIRE";
const SYSTEM = "SYS";
const UNLIMITED = -1;

/** Reads a nats-server configuration that uses maps, lists, words and strings. */
function parseConf(text) {
  // Commas, colons and equals signs count as spaces.
  const tokens = text.replace(/"[^"]*"|#.*/g, (found) => (found[0] === "#" ? "" : found))
    .match(/"[^"]*"|[{}[\]]|[^\s{}[\],:="]+/g) ?? [];
  const next = () => tokens.shift() ?? fail("the file ends inside a map or a list");
  const value = (token) => {
    if (token === "{") return map("}");
    if (token === "[") {
      const list = [];
      for (let item = next(); item !== "]"; item = next()) list.push(value(item));
      return list;
    }
    if (/^-?\d+$/.test(token)) return Number(token);
    return token.replace(/"/g, "");
  };
  const map = (end) => {
    const entries = {};
    while (tokens.length > 0 || end !== undefined) {
      const name = next();
      if (name === end) break;
      entries[value(name)] = value(next());
    }
    return entries;
  };
  return map(undefined);
}

/** The values of the known names in a map; a permission that cannot be expressed must not be dropped. */
function only(map, known) {
  const unknown = Object.keys(map).find((name) => !known.includes(name));
  return unknown === undefined ? map : fail(`credentials cannot express the setting "${unknown}"`);
}

function readAccounts(folder) {
  const read = (name) => parseConf(readFileSync(join(folder, name), "utf8"));
  const all = [[PIPELINE, read("users.conf")], ...["services.conf", "guests.conf"].flatMap((name) => Object.entries(read(name)))];
  const accounts = new Map();
  for (const [name, account] of all) {
    if (name === SYSTEM || accounts.has(name)) fail(`the account ${name} is defined twice, or reserved for the server`);
    accounts.set(name, only(account, ["users", "exports", "imports", "limits"]));
  }
  return accounts;
}

function writeSecret(path, content) {
  // A new file: the mode of an existing one would stay as it is.
  rmSync(path, { force: true });
  writeFileSync(path, content, { mode: 0o600, flag: "wx" });
}

/** The key of an operator or account: the one in the folder, or a new one. */
function key(out, name, create) {
  const path = join(out, `${name}.nk`);
  if (existsSync(path)) return fromSeed(new TextEncoder().encode(readFileSync(path, "utf8").trim()));
  const made = create();
  writeSecret(path, `${new TextDecoder().decode(made.getSeed())}\n`);
  return made;
}

function exportClaim(entry) {
  const { stream, service, accounts, response_type: response } = only(entry, ["stream", "service", "accounts", "response_type"]);
  return {
    name: stream ?? service,
    subject: stream ?? service,
    type: stream ? "stream" : "service",
    ...(accounts && { token_req: true }),
    ...(response && { response_type: response[0].toUpperCase() + response.slice(1) }),
  };
}

async function importClaim(entry, keys, importer) {
  const [type, { account, subject }] = Object.entries(only(entry, ["stream", "service"]))[0];
  const exporter = keys.get(account) ?? fail(`there is no account ${account}`);
  const token = await encodeActivation(subject, importer, exporter, type, { subject });
  return { name: subject, type, account: exporter.getPublicKey(), subject, token };
}

async function accountToken(name, account, keys, operator) {
  const limits = only(account.limits ?? {}, ["max_connections", "max_subscriptions", "max_payload"]);
  const storage = name === PIPELINE ? UNLIMITED : 0;
  const claims = {
    exports: (account.exports ?? []).map(exportClaim),
    imports: await Promise.all((account.imports ?? []).map((entry) => importClaim(entry, keys, keys.get(name)))),
    limits: {
      conn: limits.max_connections ?? UNLIMITED,
      subs: limits.max_subscriptions ?? UNLIMITED,
      payload: limits.max_payload ?? UNLIMITED,
      data: UNLIMITED, imports: UNLIMITED, exports: UNLIMITED, wildcards: true, leaf: 0,
      mem_storage: storage, disk_storage: storage, streams: storage, consumer: storage,
    },
  };
  return encodeAccount(name, keys.get(name), claims, { signer: operator });
}

async function userCredentials(user, account, expires) {
  const { permissions } = only(user, ["user", "password", "permissions"]);
  const { publish, subscribe } = only(permissions, ["publish", "subscribe"]);
  const pair = createUser();
  const claims = { pub: { allow: publish }, sub: { allow: subscribe }, subs: UNLIMITED, data: UNLIMITED, payload: UNLIMITED };
  return fmtCreds(await encodeUser(user.user, pair, account, claims, expires), pair);
}

function fail(reason) {
  console.error(`make-credentials: ${reason}`);
  process.exit(2);
}

function readFlags() {
  try {
    const options = { days: { type: "string" }, help: { type: "boolean" } };
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    if (positionals.length !== 1 || Number.isNaN(Number(values.days ?? 0))) fail(`wrong arguments\n${USAGE}`);
    const expires = values.days === undefined ? {} : { exp: Math.floor(Date.now() / 1000 + Number(values.days) * 86_400) };
    return { out: positionals[0], expires };
  } catch (error) {
    return fail(`${error.message}\n${USAGE}`);
  }
}

const { out, expires } = readFlags();
// The folder above: deploy/nats.
const accounts = readAccounts(dirname(dirname(fileURLToPath(import.meta.url))));
mkdirSync(out, { recursive: true, mode: 0o700 });
const operator = key(out, "operator", createOperator);
const keys = new Map([...accounts.keys(), SYSTEM].map((name) => [name, key(out, name, createAccount)]));
const tokens = [];
for (const [name, account] of [...accounts, [SYSTEM, {}]]) {
  tokens.push(`    ${keys.get(name).getPublicKey()}: ${await accountToken(name, account, keys, operator)}\n`);
  for (const user of account.users ?? []) {
    const path = join(out, `${user.user}.creds`);
    writeSecret(path, await userCredentials(user, keys.get(name), expires));
    console.log(`${path}  user ${user.user} of account ${name}`);
  }
}
const system = keys.get(SYSTEM).getPublicKey();
const server = join(out, "operator.conf");
writeFileSync(server, `# Made by make-credentials.mjs; nothing in it is secret. deploy/nats/credentials.conf includes it.

operator: ${await encodeOperator("candlewire", operator, { system_account: system })}
system_account: ${system}
resolver: MEMORY
resolver_preload: {
${tokens.join("")}}
`);
console.log(`${server}  for nats-server, by deploy/nats/credentials.conf`);
