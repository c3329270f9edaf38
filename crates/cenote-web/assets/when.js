
// Which moment is shown: now, unless somebody chose another. What is shown of it is told in words, and marked as past.

/** What is not kept of a moment, if anything. */
const unkept = look => look.left_out ? ' Of ' + count(look.left_out) + (look.left_out === 1 ? ' account' : ' accounts') + ' there was no room to keep anything.' : '';

const choice = (known, changed) => {
  let at = null, before = null, problem = '';

  const set = (next, why = '') => {
    at = next;
    problem = why;
    changed();
  };
  /** The look of a moment; without one, why there is none. */
  const pin = moment => {
    const look = known.find(moment);
    set(look, look ? '' : missing(moment));
  };
  const missing = at => moment(at) + ' is not kept'
    + (Number.isFinite(known.oldest()) ? ': what is kept begins at ' + moment(known.oldest()) : '') + '. What is shown is now.';
  const now = () => set(null);

  const pick = {
    at(moment) { before = at; pin(moment); },
    now,
    undo() { set(before); },
  };

  $('moment-back').addEventListener('click', () => { now(); $('history').focus({preventScroll: true}); });
  document.addEventListener('keydown', event => {
    // In a field it clears the field, and in the panel it closes that.
    if (event.key === 'Escape' && !event.defaultPrevented && (at || problem) && !event.target.closest('input, select, #blocks')) now();
  });

  return {
    pick,
    past: () => at !== null,
    /** The look that is to be shown. */
    look: live => at ?? live,
    marks: () => at ? [{at: at.now, kind: 'at', text: moment(at.now)}] : [],
    /** Says which moment that is. */
    tell(live) {
      const {memory} = at ?? live;
      $('moment').hidden = !at && !problem;
      put(document.querySelector('main'), 'class', at ? 'past' : '');
      put($('moment-text'), 'text', at ? 'As of ' + moment(at.now) + ': ' + bytes(memory.pools_bytes) + ' in pools, ' + bytes(memory.resident_bytes) + ' resident.' : problem);
      put($('moment-ago'), 'text', at ? 'That was ' + duration(Math.max(0, live.now - at.now)) + ' ago; the chart and what stands above it are of now.' : '');
      for (const words of document.querySelectorAll('.as-of')) put(words, 'text', at ? ' as of ' + moment(at.now) : '');
    },
  };
};
