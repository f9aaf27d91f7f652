// A Raft node in JavaScript: node node.js NAME PORT FOLDER. It speaks the lines of docs/use/protocol.md
// by the rules of docs/develop/grammar.md, and lives with nodes of raftline in one cluster.
// Sections in brackets: § of the Raft paper, T of Ongaro's thesis. Numbers of the protocol go up to
// 2^63-1, and doubles are exact up to 2^53, so terms, rounds and indexes are BigInts throughout.
'use strict';
const fs = require('fs');
const net = require('net');
const path = require('path');

const ELECTION_MS = 500, SPREAD_MS = 500, HEARTBEAT_MS = 100, TICK_MS = 10, DIAL_MS = 50;
const LINE_MAX = 64 << 20, BATCH = 256, KEY_BYTES = 1024, VALUE_BYTES = 1 << 20;
const NUMBER_MAX = (1n << 63n) - 1n, TERM_LEAP = 1n << 48n;
const [me, port, folder] = process.argv.slice(2);

function die(status, text) {
  process.stderr.write(`[!] ${text}\n`);
  process.exit(status);
}

// --- texts: numbers, escapes, checksums ----------------------------------------------------------

const NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;
const BAD = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]/;  // a tab may stand in a value
const ONE_SIGN = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };
const UNESCAPED = { '\\': 92, n: 10, r: 13, t: 9, s: 32 };
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decoded(bytes) {
  try { return strict.decode(bytes); } catch { return null; }
}

function numberOf(text) {  // in a request: one form
  const number = /^(0|[1-9][0-9]{0,18})$/.test(text) ? BigInt(text) : -1n;
  return number <= NUMBER_MAX ? number : -1n;
}

function integerOf(text) {
  const value = numberOf(text.replace(/^-(?=[1-9])/, ''));
  return value < 0n ? null : text[0] === '-' ? -value : value;
}

// The parts of a line between members. `%` stands for a number of up to 19 digits, `*` for the rest.
function parts(text, form) {
  const pattern = form.replace(/[[\]]/g, '\\$&').replace(/%/g, '([0-9]{1,19})').replace('*', '(.*)');
  const found = new RegExp(`^${pattern}$`, 's').exec(text);
  if (!found) return null;
  const given = found.slice(1).map((one) => (/^[0-9]{1,19}$/.test(one) ? BigInt(one) : one));
  return given.some((one) => typeof one === 'bigint' && one > NUMBER_MAX) ? null : given;
}

function crcOf(text) {
  let crc = ~0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}

const hex = (byte) => `\\x${byte.toString(16).padStart(2, '0')}`;

// The canonical form of a key or a value, however it was typed; throws a reason (page: Escapes).
function canonical(text, isKey) {
  const pieces = [];
  for (let at = 0; at < text.length;) {
    const found = /\\(x[0-9a-fA-F]{2}|[\\nrts])|[^\\]+/sy;
    found.lastIndex = at;
    const piece = found.exec(text);
    if (!piece) {
      const sign = text.slice(at, at + 2);
      throw `${sign} is not an escape. Write \\\\ for a backslash, \\n \\r \\t \\s, or \\xNN for a byte.`;
    }
    const escape = piece[1];
    if (!escape) pieces.push(Buffer.from(piece[0]));
    else pieces.push(Buffer.from([escape[0] === 'x' ? parseInt(escape.slice(1), 16) : UNESCAPED[escape]]));
    at = found.lastIndex;
  }
  const bytes = Buffer.concat(pieces), most = isKey ? KEY_BYTES : VALUE_BYTES;
  if (bytes.length > most) {
    throw `the ${isKey ? 'key' : 'value'} has ${bytes.length} bytes; the limit is ${most}. Nothing was done.`;
  }
  let formatted = '';
  for (let at = 0; at < bytes.length;) {
    const first = bytes[at], length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    const sign = decoded(bytes.subarray(at, at + length));
    const taken = sign && [...sign].length === 1 ? length : 1;
    if (taken !== length) formatted += hex(first);  // a byte that is not UTF-8
    else if (ONE_SIGN[sign]) formatted += ONE_SIGN[sign];
    else if (isKey && sign === ' ') formatted += '\\s';
    else if (BAD.test(sign)) formatted += [...bytes.subarray(at, at + length)].map(hex).join('');
    else formatted += sign;
    at += taken;
  }
  return formatted;
}

// --- the disk (Figure 2: "updated on stable storage before responding to RPCs") -------------------
// NAME.promise is {"term", "vote"}. NAME.log is as raftline's: entries `INDEX TERM COMMAND`, cuts, and
// after each batch a checksum line, which is synced with it.

let term = 0n, vote = null;
const log = [{ term: 0n, command: '' }];  // from index 1 on
let lines = '', batch = 0, synced = 0n, logFile;
const lastIndex = () => BigInt(log.length - 1);
const lastTerm = () => log[log.length - 1].term;
const termAt = (index) => log[Number(index)].term;
const promisePath = path.join(folder, `${me}.promise`);
const logPath = path.join(folder, `${me}.log`);

function syncFolder() {
  const file = fs.openSync(folder, 'r');
  fs.fsyncSync(file);
  fs.closeSync(file);
}

function savePromise(newTerm, newVote) {
  term = newTerm;
  vote = newVote;
  const file = fs.openSync(`${promisePath}.new`, 'w');
  fs.writeSync(file, `${JSON.stringify({ term: `${term}`, vote })}\n`);
  fs.fsyncSync(file);
  fs.closeSync(file);
  fs.renameSync(`${promisePath}.new`, promisePath);
  syncFolder();
}

function appendEntry(entryTerm, command) {
  log.push({ term: entryTerm, command });
  lines += `${lastIndex()} ${entryTerm} ${command}\n`;
  batch++;
}

function cutAfter(index) {
  log.length = Number(index) + 1;
  if (synced > index) synced = index;
  lines += `# cut after ${index}\n`;
}

function syncLog() {
  if (!lines) return;
  lines += `# ${batch} ${batch === 1 ? 'entry' : 'entries'} synced, crc32 ${crcOf(lines)}\n`;
  const bytes = Buffer.from(lines);
  for (let at = 0; at < bytes.length;) at += fs.writeSync(logFile, bytes, at);
  fs.fdatasyncSync(logFile);
  lines = '';
  batch = 0;
  synced = lastIndex();
}

// Read a batch, and the checksum after it; false: the checksum is none, or of other bytes.
function loadBatch(text, checksum) {
  const found = /^# [0-9]+ entr(?:y|ies) synced, crc32 ([0-9a-f]{8})$/.exec(checksum);
  if (!found || found[1] !== crcOf(text)) return false;
  for (const line of text.split('\n').slice(0, -1)) {
    const cut = parts(line, '# cut after %'), entry = parts(line, '% % *');
    if (cut && cut[0] <= lastIndex()) log.length = Number(cut[0]) + 1;
    else if (entry && entry[0] === lastIndex() + 1n) log.push({ term: entry[1], command: `${entry[2]}` });
    else if (!line.startsWith('0 0 base')) die(3, `${logPath} is damaged, or not understood: ${line.slice(0, 80)}`);
  }
  return true;
}

// What stands after the last checksum was never acknowledged, and may be torn, so it goes. A batch that
// does not fit its checksum is damage.
function load() {
  if (fs.existsSync(promisePath)) {
    const held = JSON.parse(fs.readFileSync(promisePath, 'utf8'));
    term = BigInt(held.term);
    vote = held.vote;
  }
  logFile = fs.openSync(logPath, 'a+');
  const whole = fs.readFileSync(logPath);
  let good = 0;
  for (let line = 0, end; (end = whole.indexOf(10, line)) >= 0; line = end + 1) {
    const text = decoded(whole.subarray(line, end)) ?? '';
    if (!/^# [0-9]+ entr/.test(text)) continue;
    if (!loadBatch(decoded(whole.subarray(good, line)) ?? '', text)) die(3, `${logPath} is damaged above "${text}"`);
    good = end + 1;
  }
  fs.ftruncateSync(logFile, good);
  fs.fdatasyncSync(logFile);
  syncFolder();
  synced = lastIndex();
  if (lastTerm() > term) die(3, `${promisePath} is older than ${logPath}: something is lost`);
  if (!good) lines = `0 0 base ${[...members].map(([name, at]) => `${name}=${at}`).join(' ')}\n`;
}

// --- the state machine (§2): pairs of canonical texts ---------------------------------------------

const pairs = new Map();

function increase(key, by) {
  const step = integerOf(by), value = integerOf(pairs.get(key) ?? '0');
  if (step === null) return `Sorry, ${by} is not a whole number: incr KEY [BY]`;
  if (value === null) return `Sorry, the value of ${key} is not a whole number, so nothing was added to it`;
  const sum = value + step;
  if (sum > NUMBER_MAX || sum < -NUMBER_MAX) {
    return `Sorry, the value of ${key} would go beyond 2^63-1; nothing was added to it`;
  }
  pairs.set(key, `${sum}`);
  return `INCR response: ${sum}`;
}

// Each node executes the same entries in the same order. One that this node lacks ends it.
function execute(command) {
  const bare = command.replace(/^[^ @]*@/, '');
  const [, verb, key, value] = /^([a-z]+)(?: ([^ ]*)(?: (.*))?)?$/s.exec(bare) || [];
  const held = pairs.get(key);
  if (verb === 'set') {
    pairs.set(key, value);
    return `SET response: ${key} set to ${value}`;
  }
  if (verb === 'get') return held === undefined ? `GET response, no such key: ${key}` : `GET response: ${held}`;
  if (verb === 'delete') {
    return pairs.delete(key) ? `DELETE response: ${key} deleted` : `DELETE response, no such key: ${key}`;
  }
  if (verb === 'incr') return increase(key, value ?? '1');
  if (bare !== 'noop') die(3, `the entry "${command.slice(0, 60)}" is none that this node can execute`);
  return '';
}

// A client's request in its canonical form; throws a reason (page: Limits and mistakes).
function readRequest(text) {
  const verb = text.split(' ', 1)[0];
  if (!['get', 'set', 'delete', 'incr'].includes(verb)) {
    throw `I don't understand: ${text.slice(0, 60)}. Try: get KEY, set KEY VALUE, delete KEY, show, help`;
  }
  const rest = (verb === 'set' ? text : text.replace(/ +$/, '')).slice(verb.length + 1);
  const space = rest.indexOf(' '), typed = space < 0 ? rest : rest.slice(0, space);
  const value = space < 0 ? null : rest.slice(space + 1);
  if (!typed) throw `the key is missing: ${verb} KEY, with one space before the key`;
  if (typed.includes('\t')) throw 'a tab inside a key is written \\t';
  const key = canonical(typed, true);
  if (verb === 'set') {
    if (value === null) throw 'the value is missing: set KEY VALUE (a space alone: empty value)';
    return `set ${key} ${canonical(value, false)}`;
  }
  if (value === null) return `${verb} ${key}`;
  if (verb !== 'incr') throw `${verb} takes one key; a space inside a key is written \\s`;
  if (integerOf(value) === null) throw `${value.slice(0, 60)} is not a whole number from -(2^63-1) to 2^63-1`;
  return `incr ${key} ${value}`;
}

// --- the server's state (Figure 2, volatile) ------------------------------------------------------

const members = new Map();  // all of them, to HOST:PORT
const peers = [];
let role = 'follower', leader = null;
let commitIndex = 0n, applied = 0n, round = 0n, wantsRound = false;
let now = 0, electionAt = 0, heardAt = 0, heartbeatAt = 0, quorumAt = 0;
let writes = [], reads = [];

const isQuorum = (count) => 2 * count > peers.length + 1;
const hearsLeader = () => role === 'leader' || (leader !== null && now - heardAt < ELECTION_MS);
const waitForLeader = () => { electionAt = now + ELECTION_MS + Math.random() * SPREAD_MS; };

function say(to, id, text) {
  to.out += `${me}${id}@${text}\n`;
}

function ask(peer, text) {
  if (peer.link) peer.link.out += `${me}@${text}\n`;
}

function whoLeads() {
  return leader === null || leader === me
    ? 'Sorry, I know of no leader. Try again.'
    : `Sorry, I am not the leader. Last leader I heard from is: ${leader} (${members.get(leader)})`;
}

function answerRequest(request, text) {
  if (request.from.isOver) return;
  request.from.waiting--;
  say(request.from, request.id, text);
}

// --- elections (§5.1, §5.2, PreVote T9.6) ---------------------------------------------------------

function follow(newTerm, newLeader) {
  if (newTerm > term) savePromise(newTerm, null);
  if (role === 'leader') waitForLeader();
  role = 'follower';
  leader = newLeader;
  for (const one of writes) answerRequest(one, 'Sorry, outcome unknown: I lead no longer');
  for (const one of reads) answerRequest(one, whoLeads());
  [writes, reads] = [[], []];
}

function askForVotes(word, asked, mark) {
  for (const peer of peers) {
    peer.granted = false;
    ask(peer, `${word} ${asked}-${lastIndex()}-${lastTerm()}${mark}`);
  }
}

function onSilence() {  // no higher term before a quorum would vote
  role = 'pre-candidate';
  leader = null;
  waitForLeader();
  if (isQuorum(1)) stand('');
  else askForVotes('PreVote', term + 1n, '');
}

function stand(mark) {
  role = 'candidate';
  leader = null;
  savePromise(term + 1n, me);
  waitForLeader();
  if (isQuorum(1)) lead();
  else askForVotes('RequestVote', term, mark);
}

function lead() {
  role = 'leader';
  leader = me;
  round = 1n;
  heartbeatAt = now;
  quorumAt = now + ELECTION_MS;
  for (const peer of peers) {
    Object.assign(peer, {
      next: lastIndex() + 1n, match: 0n, heardMs: now, acked: 0n, rewound: 0n, isProbed: true,
      probeSent: false, withoutVote: false, life: 0n, fence: 0n, readmitRound: 0n, againRound: 0n,
    });
  }
  appendEntry(term, 'noop');  // §8: its commit commits what earlier terms left
}

function hearVote(peer) {
  peer.granted = true;
  if (!isQuorum(1 + peers.filter((one) => one.granted).length)) return;
  if (role === 'pre-candidate') stand('');
  else lead();
}

function hearRequestVote(from, isPre, asked, index, theirs, mark) {
  const isHanded = mark === ' transfer';  // T3.10: its leader asked it to stand
  if (asked > term && !isPre && (!hearsLeader() || (isHanded && asked === term + 1n))) follow(asked, null);
  let why = '';
  if (asked < term) why = `old-term: term ${asked} is over, I am in term ${term}`;
  else if (hearsLeader() && !(isHanded && asked === term && leader === null)) {  // T4.2.3
    why = `hears ${leader}: I hear from leader ${leader} of term ${term}`;
  } else if (mark === ' newborn' && lastIndex()) {
    why = `by-hand: the log of ${from} was written by hand, mine holds a cluster's entries`;
  } else if (theirs < lastTerm() || (theirs === lastTerm() && index < lastIndex())) {  // §5.4.1
    why = `behind: log not up to date: it ends at ${index} of term ${theirs}, mine at ${lastIndex()} of term ${lastTerm()}`;
  } else if (asked === term && vote !== null && vote !== from) why = `voted: already voted for ${vote} in term ${term}`;
  const kind = isPre ? ' prevote' : '';
  if (why) return `Not this time term ${term}${kind} ${why}`;
  if (!isPre) {
    savePromise(asked, from);
    role = 'follower';
    waitForLeader();
  }
  return `Count on me term ${asked}${kind}`;
}

// --- a follower's log (§5.3; Figure 2, AppendEntries) ---------------------------------------------

// The entries of a JSON list, and what follows it; null where they are none. Indexes go on from
// `previous`, terms never fall. JSON.parse alone would read a number as a double.
function readEntries(text, previous, low, high) {
  const one = /(,\s*)?\{\s*"index":\s*"?([0-9]{1,19})"?,\s*"term":\s*"?([0-9]{1,19})"?,\s*"command":\s*("(?:[^"\\]|\\.)*")\s*\}\s*/sy;
  const entries = [];
  let at = one.lastIndex = 1, least = low;
  if (text[0] !== '[') return null;
  for (let found; (found = one.exec(text)); at = one.lastIndex) {
    const entryTerm = BigInt(found[3]);
    let command;
    try { command = JSON.parse(found[4]); } catch { return null; }
    const follows = BigInt(found[2]) === previous + BigInt(entries.length) + 1n && !!found[1] === entries.length > 0;
    if (!follows || entryTerm < least || entryTerm > high || !entryTerm || !command || BAD.test(command)) return null;
    least = entryTerm;
    entries.push({ term: entryTerm, command });
  }
  return text[at] === ']' ? [entries, text.slice(at + 1)] : null;
}

function hearAppend(from, sentTerm, previous, previousTerm, entries, leaderCommit, number) {
  if (sentTerm < term) return `GiveEntriesAfterIndex ${lastIndex()} term ${term} round 0`;  // receiver 1
  if (sentTerm === term && leader !== null && leader !== from) {
    return `Sorry, ${leader} leads term ${term}, so ${from} does not`;
  }
  for (let i = 0; i <= entries.length && previous + BigInt(i) <= commitIndex; i++) {
    const index = previous + BigInt(i), other = i ? entries[i - 1].term : previousTerm;
    if (termAt(index) !== other) {
      return `Sorry, entry ${index} is committed with term ${termAt(index)}, it is never replaced by term ${other}`;
    }
  }
  follow(sentTerm, from);
  heardAt = now;
  waitForLeader();
  if (previous > lastIndex() || termAt(previous) !== previousTerm) {  // receiver 2
    let agree = lastIndex();
    if (previous <= lastIndex()) {  // §5.3, end: before the whole run of that term
      for (agree = previous; termAt(agree) === termAt(previous);) agree--;
    }
    if (agree < commitIndex) agree = commitIndex;
    return `GiveEntriesAfterIndex ${agree} term ${term} round ${number}`;
  }
  entries.forEach((entry, place) => {
    const index = previous + 1n + BigInt(place);
    if (index <= lastIndex() && termAt(index) === entry.term) return;
    if (index <= lastIndex()) cutAfter(index - 1n);  // receiver 3: a conflict alone
    appendEntry(entry.term, entry.command);  // receiver 4
  });
  const match = previous + BigInt(entries.length);
  const commit = leaderCommit < match ? leaderCommit : match;  // receiver 5
  if (commit > commitIndex) commitIndex = commit;
  return `I am up to date term ${term} index ${match} round ${number}`;
}

// --- what members ask and answer (page: Peers) ----------------------------------------------------

const isPlace = (asked, index, theirs) => asked <= term + TERM_LEAP && theirs <= asked && !index === !theirs;

function hearQuestion(from, text) {
  const word = text.split(' ', 1)[0], isPre = word === 'PreVote';
  let given;
  if (isPre || word === 'RequestVote') {
    given = parts(text, `${word} %-%-%*`);
    const marks = isPre ? ['', ' newborn'] : ['', ' newborn', ' transfer'];
    if (given && marks.includes(given[3]) && isPlace(...given.slice(0, 3)) && given[2] < given[0]) {
      return hearRequestVote(from, isPre, ...given);
    }
  } else if (word === 'AppendEntries' && (given = parts(text, 'AppendEntries %-%-%-*'))) {
    const [asked, index, theirs, rest] = given;
    const read = asked && isPlace(asked, index, theirs) ? readEntries(`${rest}`, index, theirs, asked) : null;
    const end = read && (read[1] === '' ? [0n, 0n] : parts(read[1], ' commit % round %')
      || parts(read[1], ' commit % round % vote again %'));
    if (end) return hearAppend(from, asked, index, theirs, read[0], end[0], end[1]);
  } else if (word === 'TimeoutNow' && (given = parts(text, 'TimeoutNow %'))) {  // T3.10
    if (given[0] === term && role === 'follower' && leader === from) stand(' transfer');
    return '';
  }
  return `Sorry, malformed ${word}, or of no log that there can be`;
}

// What an answer says of the follower's memory; false: that is old news (page: "without vote").
function hearMemory(peer, life, number) {
  if (life && life === peer.life) return peer.withoutVote;
  if ((life || peer.withoutVote) && number < peer.readmitRound) return false;
  peer.withoutVote = life !== 0n;
  if (peer.withoutVote) {
    Object.assign(peer, { life, readmitRound: round + 1n, fence: 0n, againRound: 0n, match: 0n, isProbed: true });
  }
  return true;
}

function hearAppended(peer, isAccepted, index, number, marks) {
  const life = /without vote ([0-9]{1,19})/.exec(marks);
  if (number > round || (isAccepted && index > lastIndex())) return;
  if (!hearMemory(peer, life ? BigInt(life[1]) : 0n, number)) return;
  peer.heardMs = now;
  if (number > peer.acked) peer.acked = number;
  if (isAccepted) {
    if (index > peer.match) peer.match = index;
    if (index >= peer.next) peer.next = index + 1n;
    peer.isProbed = false;
  } else if (number > peer.rewound) {  // the first complaint counts: step back (§5.3)
    const back = index > peer.next - 2n ? peer.next - 2n : index;
    peer.next = (back > peer.match ? back : peer.match) + 1n;
    peer.rewound = round++;
    peer.isProbed = true;
    peer.probeSent = false;
  }
}

function hearAnswer(peer, text) {
  const granted = parts(text, 'Count on me term %*'), denied = parts(text, 'Not this time term %*');
  const accepted = parts(text, 'I am up to date term % index % round %*');
  const rejected = parts(text, 'GiveEntriesAfterIndex % term % round %*');
  if (!granted && !denied && !accepted && !rejected) return;
  const sent = rejected ? rejected[1] : (granted || denied || accepted)[0];
  const isPre = granted !== null && granted[1] === ' prevote';
  if (sent > term && !isPre) {
    if (sent - term <= TERM_LEAP) follow(sent, null);  // §5.1
  } else if (granted) {
    if (role === (isPre ? 'pre-candidate' : 'candidate') && sent === term + (isPre ? 1n : 0n)) hearVote(peer);
  } else if (role === 'leader' && sent === term && accepted) {
    hearAppended(peer, true, accepted[1], accepted[2], `${accepted[3]}`);
  } else if (role === 'leader' && sent === term && rejected) {
    hearAppended(peer, false, rejected[0], rejected[2], `${rejected[3]}`);
  }
}

// --- the leader (§5.3, §5.4.2) --------------------------------------------------------------------

function sendAppend(peer, count) {
  const first = Number(peer.next), sent = log.slice(first, first + count);
  const formatted = sent.map((one, at) =>
    `{"index": ${first + at}, "term": ${one.term}, "command": ${JSON.stringify(one.command)}}`);
  const again = peer.withoutVote && peer.againRound && peer.againRound <= round ? ` vote again ${peer.life}` : '';
  ask(peer, `AppendEntries ${term}-${first - 1}-${log[first - 1].term}-[${formatted.join(', ')}]`
    + ` commit ${commitIndex} round ${round}${again}`);
  peer.probeSent = peer.isProbed;
  if (!peer.isProbed) peer.next += BigInt(sent.length);
}

function sendEntries(peer, isHeartbeat) {
  if (!peer.link) return;
  if (isHeartbeat || (peer.isProbed && !peer.probeSent)) sendAppend(peer, 0);
  while (!peer.isProbed && peer.next <= lastIndex()) sendAppend(peer, BATCH);
}

function reachedByQuorum(own, of) {
  const reached = [own, ...peers.map((peer) => (peer.withoutVote ? 0n : of(peer)))];
  reached.sort((one, other) => (one < other ? 1 : one > other ? -1 : 0));
  return reached[Math.floor(reached.length / 2)];
}

// An entry more for a follower without a vote: once a quorum of the others has it, and the follower
// all up to it, the follower may vote again.
function readmit(peer) {
  if (!peer.fence) {
    appendEntry(term, 'noop');
    peer.fence = lastIndex();
  } else if (!peer.againRound && peer.fence <= commitIndex && peer.fence <= peer.match) {
    peer.againRound = round + 1n;
    wantsRound = true;
  }
}

function passTime() {
  if (role !== 'leader') {
    if (now >= electionAt) onSilence();
    return;
  }
  if (now < quorumAt) return;
  quorumAt = now + ELECTION_MS;  // T6.2: nobody answers a leader that is cut off
  const near = peers.filter((peer) => !peer.withoutVote && now - peer.heardMs <= ELECTION_MS);
  if (!isQuorum(1 + near.length)) follow(term, null);
}

function applyCommitted() {
  while (applied < commitIndex) {
    const reply = execute(log[Number(++applied)].command);
    if (writes.length && writes[0].index === applied) answerRequest(writes.shift(), reply);
  }
  if (role !== 'leader') return;
  const confirmed = reachedByQuorum(round, (peer) => peer.acked);  // T6.4: of a later round
  while (reads.length && reads[0].round <= confirmed && reads[0].index <= applied) {
    const read = reads.shift();
    answerRequest(read, execute(read.command));
  }
}

// What one turn asked for: the disk first, then all that depends on it.
function finishStep() {
  if (role === 'leader') peers.filter((peer) => peer.withoutVote).forEach(readmit);
  syncLog();
  let isHeartbeat = false;
  if (role === 'leader') {
    const index = reachedByQuorum(synced, (peer) => peer.match);
    if (index > commitIndex && termAt(index) === term) commitIndex = index;  // §5.4.2
    isHeartbeat = wantsRound || now >= heartbeatAt;
    if (isHeartbeat) {
      round++;
      heartbeatAt = now + HEARTBEAT_MS;
    }
  }
  wantsRound = false;
  applyCommitted();
  if (role === 'leader') for (const peer of peers) sendEntries(peer, isHeartbeat);
}

// --- lines and sockets ----------------------------------------------------------------------------

const connections = new Set();
const ASKS = ['PreVote', 'RequestVote', 'AppendEntries', 'TimeoutNow'];
const ANSWERS = ['Count', 'Not', 'I', 'GiveEntriesAfterIndex', 'Read', 'GiveSnapshotAfterByte'];

// The sender, `#ID` and the text of a line; throws a reason (page: Names).
function split(line) {
  const word = line.split(' ', 1)[0], at = word.indexOf('@');
  if (at < 0) return ['', '', line];
  const [sender, ...id] = word.slice(0, at).split('#');
  if (!NAME.test(sender)) {
    throw `"${sender.slice(0, 60)}" is not a name. A name is a letter, then letters, digits, _ . or -, at most 64 in all: client4@get KEY`;
  }
  if (id.length && numberOf(id.join('#')) < 0n) {
    throw `"${id.join('#').slice(0, 60)}" is not a request id. An id is a number from 0 to 9223372036854775807 without leading zeros: client4#17@get KEY`;
  }
  return [sender, id.length ? `#${id[0]}` : '', line.slice(at + 1)];
}

function takeMessage(from, sender, text) {
  const word = text.split(' ', 1)[0];
  if (!sender || ![...ASKS, ...ANSWERS, 'InstallSnapshot', 'ReadIndex'].includes(word)) return false;
  let answer = 'Sorry, an answer is only taken on the connection that asked';
  if (!peers.some((peer) => peer.name === sender)) {
    answer = `Sorry, ${sender} is not a peer of ${me}, so it can't say ${text.slice(0, 40)}`;
  } else if (ASKS.includes(word)) answer = hearQuestion(sender, text);
  else if (!ANSWERS.includes(word)) answer = `Sorry, this node does not know ${word}`;
  if (answer) say(from, '', answer);
  return true;
}

// Take one line of a connection; false: it waits until those before it are answered (page: Order).
function takeLine(from, line) {
  let sender = '', id = '', text, command = '', answer = '';
  try {
    if (line === null || BAD.test(line)) throw 'a line is UTF-8 text without control characters';
    [sender, id, text] = split(line.trimStart());
    if (takeMessage(from, sender, text)) return true;
    text = text.trimStart();
    if (sender && text.startsWith('Level ')) answer = 'Level 1 version conform.js';
    else command = readRequest(text);
  } catch (why) {
    if (typeof why !== 'string') throw why;
    answer = `Sorry, ${why}`;
  }
  const isRead = command.startsWith('get ');
  if (from.waiting && (answer || isRead !== from.waitsForReads)) return false;
  if (!answer && role !== 'leader') answer = whoLeads();
  if (answer) {
    say(from, id, answer);
    return true;
  }
  from.waiting++;
  from.waitsForReads = isRead;
  if (!isRead) appendEntry(term, id ? `${sender}${id}@${command}` : command);
  (isRead ? reads : writes).push({ from, id, command, index: lastIndex(), round: round + 1n });
  wantsRound = wantsRound || isRead;
  return true;
}

function takeLines(from) {
  let begin = 0;
  for (let end; (end = from.input.indexOf(10, begin)) >= 0; begin = end + 1) {
    const last = end > begin && from.input[end - 1] === 13 ? end - 1 : end;
    const line = decoded(from.input.subarray(begin, last));
    if (!from.peer) {
      if (!takeLine(from, line)) break;
      continue;
    }
    const start = `${from.peer.name}@`;
    if (line !== null && line.startsWith(start)) hearAnswer(from.peer, line.slice(start.length));
  }
  from.input = from.input.subarray(begin);
}

function takeSocket(socket, peer) {
  const one = { socket, peer, input: Buffer.alloc(0), out: '', waiting: 0, waitsForReads: false, isOver: false };
  connections.add(one);
  socket.setNoDelay(true);
  socket.on('data', (piece) => {
    one.input = one.input.length ? Buffer.concat([one.input, piece]) : piece;
    if (one.input.length > LINE_MAX) socket.destroy();
    else wake();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    one.isOver = true;
    connections.delete(one);
    if (peer && peer.link === one) Object.assign(peer, { link: null, isProbed: true, probeSent: false });
  });
  return one;
}

function dial(peer) {
  if (peer.link || now < peer.dialAt) return;
  peer.dialAt = now + DIAL_MS;
  peer.link = takeSocket(net.connect(peer.port, peer.host), peer);
}

// Do all that there is to do. Nothing leaves before the step is finished.
let isAwake = false;
function turn() {
  isAwake = false;
  now = performance.now();
  peers.forEach(dial);
  for (const one of connections) takeLines(one);
  passTime();
  finishStep();
  for (const one of connections) {
    if (one.out && !one.isOver) one.socket.write(one.out);
    one.out = '';
    if (!one.waiting && one.input.includes(10)) wake();
  }
}

function wake() {
  if (!isAwake) setImmediate(turn);
  isAwake = true;
}

function loadMembers() {
  const file = path.join(folder, 'server-configuration.txt');
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    const words = line.replace(/#.*/, '').split(/\s+/).filter(Boolean);
    if (words.length < 2) continue;
    const [name, host, at] = words.length > 2 ? words : [words[0], 'localhost', words[1]];
    members.set(name, `${host}:${at}`);
    if (name !== me) peers.push({ name, host: host === 'localhost' ? '127.0.0.1' : host, port: +at, link: null, dialAt: 0 });
  }
}

if (!NAME.test(me ?? '') || !folder) die(2, 'usage: node node.js NAME PORT FOLDER');
try {
  loadMembers();
  load();
} catch (error) {
  die(4, `${error.message}`);
}
now = performance.now();
if (peers.length) waitForLeader();  // a lone member has no leader to hear
const listener = net.createServer({ allowHalfOpen: false }, (socket) => takeSocket(socket, null));
listener.on('error', (error) => die(4, error.message));
listener.listen(+port, '127.0.0.1', () => {
  process.stdout.write(`[*] Server started on port ${port}, in term ${term}, its log ends at ${lastIndex()}\n`);
  setInterval(turn, TICK_MS);
});
