
// Which moment is shown: now, unless somebody chose another; and which one it is compared with, if any. What is
// shown is told in words, and marked where it is not what is there now.

/** What is not kept of a moment, if anything. */
const unkept = look => look.left_out ? ' Of ' + count(look.left_out) + (look.left_out === 1 ? ' account' : ' accounts') + ' there was no room to keep anything.' : '';

/** A moment of another page's own looks is not kept, but one that is this close. */
const NEAR = 2.5;

const choice = (known, changed) => {
  // Looks: that which is shown, where it is not now's, and that with which it is compared.
  let at = null, since = null, before = [null, null], problem = '';
  // What an address asks for waits for what is known.
  let asked = null;

  const set = (shown, compared, why = '') => {
    [at, since, problem, asked] = [shown, compared, why, null];
    changed();
  };
  const missing = at => moment(at) + ' is not kept'
    + (Number.isFinite(known.oldest()) ? ': what is kept begins at ' + moment(known.oldest()) : ', since this server keeps no history') + '.';
  const now = () => set(null, null);

  const pick = {
    /** Shows a moment. */
    at(moment) {
      before = [at, since];
      const look = known.find(moment);
      set(look ?? at, since, look ? '' : missing(moment));
    },
    /** Compares with one. */
    since(moment) {
      before = [at, since];
      const look = known.find(moment);
      set(at, look ?? since, look ? '' : missing(moment));
    },
    /** Shows now; compared with what it was compared with. */
    now: () => set(null, since),
    undo() { set(...before); },
  };

  const back = $('moment-back'), other = $('moment-compare'), file = $('file');
  back.addEventListener('click', () => { now(); $('history').focus({preventScroll: true}); });
  other.addEventListener('click', () => { set(null, since ?? at); back.focus({preventScroll: true}); });
  document.addEventListener('keydown', event => {
    // In a field it clears the field, and in the panel it closes that.
    if (event.key === 'Escape' && !event.defaultPrevented && (at || since || problem) && !event.target.closest('#find, select, #blocks')) now();
  });
  file.addEventListener('change', async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    try { set(at, await readLook(chosen)); } catch (error) { set(at, since, error.message); }
    // So that the same may be chosen again, once it is mended.
    file.value = '';
  });

  /** The look that is to be shown: of two, the later. */
  const look = live => {
    const shown = at ?? live;
    if (!since) return shown;
    return since.now <= shown.now ? compare(since, shown) : compare(shown, since);
  };
  const name = look => (look.file ? '“' + look.file + '” of ' : '') + moment(look.now);
  /** What is told of what is shown, in words that stay the same; and in those that do not. */
  const words = (look, live) => {
    const {memory, since} = look, ago = duration(Math.max(0, live.now - look.now)) + ' ago';
    const above = ' The chart and what stands above it are of now.';
    if (!since) return ['As of ' + name(look) + ': ' + bytes(memory.pools_bytes) + ' in pools, ' + bytes(memory.resident_bytes) + ' resident.', 'That was ' + ago + '.' + above];
    const more = (title, field) => memory[field] == null || since.then.memory[field] == null ? [] : [title + ' ' + (plus(memory[field] - since.then.memory[field]) || 'as before')];
    const change = [...more('in pools', 'pools_bytes'), ...more('resident', 'resident_bytes')].join(', ');
    return [
      (look === live || !look.past && !look.file ? 'Now' : name(look)) + ' compared with ' + name(since.then) + (since.same ? '.' : ', of another process: single pools cannot be told apart.'),
      duration(look.now - since.then.now) + ' lie between' + (change ? ': ' + change : '') + '.' + (at ? above : ''),
    ];
  };

  /** Does what an address asked for, as soon as it is known whether that is kept. */
  const obey = live => {
    if (!known.steps && live.history_seconds !== null) return;
    const found = moment => moment && moment <= live.now + 1 ? known.find(moment) : null;
    const {at, since} = asked, looks = [found(at), found(since)];
    // What is kept closest to it may be a minute before, or be on the other side of a gap.
    const why = (wanted, look) => !wanted ? '' : !look ? missing(wanted)
      : wanted - look.now > NEAR ? 'Nothing is kept of ' + moment(wanted) + ': ' + moment(look.now) + ' is the last moment before it.' : '';
    set(...looks, [why(at, looks[0]), why(since, looks[1])].filter(Boolean).join(' '));
  };

  return {
    pick,
    /** The moments that are chosen, for the address; and back. A file is nobody else's. */
    state: () => asked ?? {at: at?.now, since: since?.file ? 0 : since?.now},
    restore({at: shown, since: compared}) {
      asked = {at: Number(shown) || 0, since: Number(compared) || 0};
      if (!asked.at && !asked.since && (at || since)) now();
    },
    /** Says what was not found. */
    say(why) { if (why) set(at, since, [problem, why].filter(Boolean).join(' ')); },
    past: () => at !== null,
    look,
    marks: () => [[at, 'at', ''], [since, 'since', 'since ']].filter(([look]) => look)
      .map(([{now}, kind, word]) => ({at: now, kind, text: word + moment(now)})),
    /** Says which moment that is. */
    tell(live) {
      if (asked?.at || asked?.since) obey(live);
      const waits = asked?.at || asked?.since;
      const shown = look(live), [text, rest] = at || since ? words(shown, live) : ['', ''];
      $('moment').hidden = !text && !problem && !waits;
      put(document.querySelector('main'), 'class', at ? 'past' : since ? 'since' : '');
      put($('moment-text'), 'text', waits ? 'Looking for ' + moment(waits) + '.' : problem || text);
      put($('moment-more'), 'text', problem ? text : rest);
      other.hidden = !at;
      put(back, 'text', at ? 'Back to now' : since ? 'Stop comparing' : 'Close');
      for (const words of document.querySelectorAll('.as-of')) {
        put(words, 'text', (shown.past || shown.file ? ' as of ' + moment(shown.now) : '') + (since ? ' · compared with ' + moment(shown.since.then.now) : ''));
      }
    },
  };
};
