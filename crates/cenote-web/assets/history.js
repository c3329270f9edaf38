
// What was held, on a server that keeps a history: fifteen minutes by the second, a day by the minute.

const AGAIN = 60000;

const timeline = (element, ranges, choice, ask) => {
  let steps = null, step = 0, path = '', plot = null, asked = 0;
  const key = path => path.join('\n');
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /** The figures of a step, in the order of the lines; none where there was nothing. */
  const figures = () => {
    const {now, resident_bytes, block_cache_bytes, accounts} = steps[step];
    const held = of => accounts.find(row => key(row.path) === of)?.held_bytes ?? now.map(() => null);
    const data = [now, resident_bytes, held(root()), block_cache_bytes];
    return path ? [...data, held(path)] : data;
  };
  const root = () => steps.flatMap(one => one.accounts).find(row => row.path.length === 1)?.path.join('\n');

  const line = (label, name, rest = {}) => ({
    label, stroke: color(name), width: 1.5, spanGaps: false, points: {show: false},
    value: (_, value) => bytes(value), ...rest,
  });

  /** Where requests were refused, a mark at the bottom. */
  const refusals = plot => {
    const {now, requests_refused: refused} = steps[step], {ctx, bbox} = plot;
    ctx.fillStyle = color('--bad');
    now.forEach((moment, i) => {
      if (i > 0 && refused[i] > refused[i - 1]) {
        const x = plot.valToPos(moment, 'x', true);
        if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x - 1, bbox.top + bbox.height - 8, 3, 8);
      }
    });
  };

  const draw = () => {
    plot?.destroy();
    const axis = {stroke: color('--dim'), grid: {stroke: color('--line'), width: 1}, ticks: {stroke: color('--line'), width: 1}};
    const series = [{label: 'Time', value: (_, at) => at === null ? '–' : moment(at)},
      line('Resident', '--c3'), line('In pools', '--c1', {fill: color('--c1') + '22'}), line('Cached', '--c0')];
    if (path) series.push(line(path.split('\n').join('/'), '--ink', {dash: [6, 3]}));
    plot = new uPlot({
      width: element.clientWidth, height: 220, series,
      axes: [axis, {...axis, size: 76, incrs: Array.from({length: 50}, (_, i) => 2 ** i), values: (_, values) => values.map(bytes)}],
      scales: {y: {range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1]}},
      cursor: {drag: {x: true, y: false}},
      hooks: {draw: [refusals]},
    }, figures(), element);
    tell();
  };
  const tell = () => {
    const {now} = steps[step];
    put(element, 'aria-label', now.length + ' moments, of the last ' + duration(now.at(-1) - now[0])
      + ': in pools now ' + bytes(figures()[2].at(-1)) + ', resident ' + bytes(figures()[1].at(-1)));
  };

  /** Whether all is shown, and not a part that was looked at closer. */
  const isWhole = () => !plot || plot.scales.x.min <= plot.data[0][0] && plot.scales.x.max >= plot.data[0].at(-1);
  /** Shows new figures; where a part is looked at closer, in that part. */
  const renew = all => {
    if (!plot) return draw();
    plot.setData(figures(), all);
    if (!all) plot.redraw();
    tell();
  };

  const choose = () => {
    const paths = [...new Map(steps.flatMap(one => one.accounts).map(row => [key(row.path), row.path])).values()];
    const known = [...choice.options].map(option => option.value).join('\n\n');
    if (known === ['', ...paths.slice(1).map(key)].join('\n\n')) return;
    choice.replaceChildren(el('option', {value: ''}, 'none'), ...paths.slice(1).map(path => el('option', {value: key(path)}, path.slice(1).join('/'))));
    choice.value = path;
  };

  const begin = async () => {
    const response = await ask('pools.json?history');
    if (!response.ok) return;
    const {steps: next} = await response.json(), all = isWhole();
    steps = next;
    element.parentElement.hidden = !steps[0].now.length;
    if (steps[step].now.length) { choose(); renew(all); }
  };
  const mark = () => [...ranges.children].forEach((button, i) => put(button, 'aria-pressed', String(i === step)));

  [...ranges.children].forEach((button, i) => button.addEventListener('click', () => {
    step = i;
    if (steps?.[step].now.length) { mark(); draw(); }
  }));
  choice.addEventListener('change', () => { path = choice.value; if (steps) draw(); });
  new ResizeObserver(() => { if (plot && plot.width !== element.clientWidth) plot.setSize({width: element.clientWidth, height: 220}); }).observe(element);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (plot) draw(); });

  return {
    /** A look, which is newer than what was asked for; that is asked for again now and then. */
    add(look) {
      if (look.history_seconds > 1 && performance.now() - asked > (steps ? AGAIN : 0)) {
        asked = performance.now();
        begin().catch(() => {});
      }
      const fine = steps?.[0];
      if (!fine || look.now - (fine.now.at(-1) ?? 0) < .9) return;
      const all = isWhole(), held = new Map(look.accounts.map(row => [key(row.path), row.held_bytes]));
      fine.now.push(look.now);
      fine.resident_bytes.push(look.memory.resident_bytes);
      fine.block_cache_bytes.push(look.memory.block_cache_bytes);
      fine.requests_refused.push(look.requests_refused);
      fine.accounts.forEach(row => row.held_bytes.push(held.get(key(row.path)) ?? null));
      if (step === 0) renew(all);
    },
  };
};
