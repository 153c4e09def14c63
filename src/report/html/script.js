'use strict';
// The page says all without this: here the queue is sorted and filtered, and commands are copied.
for (const section of document.querySelectorAll('article')) {
  const table = section.querySelector('table.queue');
  if (!table) continue;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const filters = section.querySelector('.filters');
  const fields = [...filters.querySelectorAll('[data-f]')];
  const shown = filters.querySelector('output');
  const filter = () => {
    let count = 0;
    for (const row of rows) {
      const fits = fields.every((field) => {
        const wanted = field.value;
        if (!wanted) return true;
        return field.dataset.f === 'text'
          ? row.textContent.toLowerCase().includes(wanted.toLowerCase())
          : row.dataset[field.dataset.f] === wanted;
      });
      row.hidden = !fits;
      count += fits ? 1 : 0;
    }
    shown.textContent = `${count} of ${rows.length}`;
  };
  for (const field of fields) field.addEventListener('input', filter);
  filters.hidden = false;

  const heads = [...table.tHead.rows[0].cells];
  const value = (row, at) => row.cells[at].dataset.v ?? row.cells[at].textContent.trim();
  heads.forEach((head, at) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const order = new Intl.Collator('en', { numeric: true });
      const sorted = [...rows].sort((a, b) => order.compare(value(a, at), value(b, at)));
      if (down) sorted.reverse();
      body.append(...sorted);
    });
  });

  // A link to a row that a filter hides shows all rows again.
  const reveal = () => {
    const row = rows.find((r) => `#${r.id}` === location.hash);
    if (!row || !row.hidden) return;
    for (const field of fields) field.value = '';
    filter();
    row.scrollIntoView();
  };
  addEventListener('hashchange', reveal);
}

for (const command of document.querySelectorAll('code.cmd')) {
  if (!navigator.clipboard) break;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'copy';
  button.textContent = 'copy';
  button.setAttribute('aria-label', `copy: ${command.textContent}`);
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = 'copied';
    setTimeout(() => { button.textContent = 'copy'; }, 1500);
  });
  command.after(button);
}

// On paper all is unfolded.
let folded = [];
addEventListener('beforeprint', () => {
  folded = [...document.querySelectorAll('details:not([open])')];
  for (const part of folded) part.open = true;
});
addEventListener('afterprint', () => {
  for (const part of folded) part.open = false;
});
