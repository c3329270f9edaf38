// What the engine is given to do: each handler uses its pool in another way. Nothing here
// depends on time or chance, so that two engines must give the same answers.

import fs from 'fs';
import cr from 'crypto';

// The same numbers in each run.
function numbers(seed) {
    let state = seed;
    return function (below) {
        state = (state * 1103515245 + 12345) % 2147483648;
        return Math.floor(state / 65536) % below;
    };
}

function digest(text) {
    return cr.createHash('sha256').update(text).digest('hex');
}

// Objects of every size, dropped in no order: the chunks of pages.
function objects(r) {
    const next = numbers(Number(r.args.seed || 1));
    let kept = {};
    for (let i = 0; i < 3000; i++) {
        const key = 'key' + next(400);
        if (next(3) === 0) {
            delete kept[key];
        } else {
            kept[key] = {i, list: new Array(next(20)).fill(i), text: 'x'.repeat(next(90))};
        }
    }
    const keys = Object.keys(kept).sort();
    return JSON.stringify(keys.map((k) => [k, kept[k]]));
}

// Strings from a byte to megabytes: whole pages and large objects.
function strings(r) {
    const next = numbers(Number(r.args.seed || 1));
    let all = '';
    for (let i = 0; i < 200; i++) {
        const piece = String.fromCharCode(97 + next(26)).repeat(next(3000));
        all += piece.toUpperCase() + '\u00e9' + piece.split('').reverse().slice(0, 50).join('-');
    }
    const large = 'abcdefgh'.repeat(200000);
    const replaced = large.slice(0, 8000).replace(/ab/g, 'XYZ');
    return [digest(all), all.length, digest(large), digest(replaced)].join(' ');
}

function sorting(r) {
    const next = numbers(Number(r.args.seed || 1));
    const list = [];
    for (let i = 0; i < 20000; i++) {
        list.push(next(1000000));
    }
    list.sort((a, b) => a - b);
    const half = list.filter((n) => n % 2).map((n) => n * 3).slice(100, 9000);
    return digest(JSON.stringify(half)) + ' ' + list[0] + ' ' + list[list.length - 1];
}

function closures() {
    function count(n) {
        return n === 0 ? () => 0 : ((below) => () => 1 + below())(count(n - 1));
    }
    const made = [];
    for (let i = 0; i < 200; i++) {
        made.push(count(i % 50));
    }
    return made.map((f) => f()).join(',');
}

function errors() {
    const seen = [];
    for (let i = 0; i < 500; i++) {
        try {
            if (i % 3 === 0) {
                JSON.parse('{"broken": ' + i);
            } else if (i % 3 === 1) {
                null.nothing();
            } else {
                throw new RangeError('number ' + i);
            }
        } catch (e) {
            seen.push(e.name);
        } finally {
            seen.push(i);
        }
    }
    return digest(seen.join()) + ' ' + seen.length;
}

function buffers() {
    const parts = [];
    for (let i = 0; i < 300; i++) {
        const part = Buffer.alloc(4 + i * 17, i);
        part.writeUInt32BE(i * 77777, 0);
        parts.push(part);
    }
    const whole = Buffer.concat(parts.slice(1));
    return digest(whole) + ' ' + whole.length + ' ' + whole.toString('base64').length;
}

function patterns() {
    const found = [];
    for (let i = 0; i < 300; i++) {
        const text = 'name' + i + '=value-' + (i * i) + '; other' + i + '=' + 'z'.repeat(i);
        const match = text.match(/(\w+)=value-(\d+); (?:\w+)=(z*)/);
        found.push(match[1] + match[2] + match[3].length);
    }
    return digest(found.join());
}

function files(r) {
    const text = fs.readFileSync(r.variables.source, 'utf8');
    return digest(text.repeat(30)) + ' ' + text.length;
}

async function later(n) {
    return await new Promise((resolve) => setTimeout(() => resolve(n * 2), 0));
}

// Handlers that wait: their engines live across events, many at once.
async function promises(r) {
    let sum = 0;
    for (let i = 0; i < 20; i++) {
        sum += (await Promise.all([later(i), later(i + 1), later(i + 2)])).reduce((a, b) => a + b);
    }
    r.return(200, 'promises ' + sum + '\n');
}

async function subrequests(r) {
    const answers = [];
    const names = ['objects', 'closures', 'errors', 'patterns'];
    for (let i = 0; i < names.length; i++) {
        const reply = await r.subrequest('/' + names[i], {args: 'seed=5'});
        answers.push(reply.status + ' ' + digest(reply.responseText));
    }
    r.return(200, answers.join('\n') + '\n');
}

const all = {objects, strings, sorting, closures, errors, buffers, patterns, files};

function content(r) {
    r.return(200, all[r.uri.slice(1)](r) + '\n');
}

// Its exception is not caught: the engine is destroyed in the middle of it.
function failing(r) {
    const deep = (n) => (n === 0 ? r.nothing.here : [deep(n - 1)]);
    r.return(200, deep(100));
}

// Asks for more and more until there is no more to be had, which must be an error.
function greedy(r) {
    try {
        r.return(200, 'x'.repeat(3000000000).length + '\n');
    } catch (e) {
        r.return(200, e.name + '\n');
    }
}

function body(r) {
    const given = r.requestText;
    r.return(200, given.length + ' ' + digest(given) + ' ' + JSON.stringify(r.args) + '\n');
}

function variable(r) {
    return 'v' + digest(r.uri + r.headersIn['User-Agent']).slice(0, 16);
}

function header(r) {
    r.headersOut['X-Agent'] = variable(r);
    delete r.headersOut['Content-Length'];
}

function filter(r, data, flags) {
    r.sendBuffer(data.toString().replace(/the/g, 'THE'), flags);
}

export default {
    content, promises, subrequests, failing, greedy, body, variable, header, filter,
};
