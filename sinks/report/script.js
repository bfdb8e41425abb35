(function () {
  'use strict';
  var $ = function (id) { return document.getElementById(id); };
  var said = $('said');

  function copy(text, button) {
    function done(ok) {
      said.textContent = ok ? 'Copied' : 'Could not copy';
      var label = button.dataset.label || (button.dataset.label = button.textContent);
      button.textContent = ok ? 'Copied' : 'Not copied';
      setTimeout(function () { button.textContent = label; said.textContent = ''; }, 1400);
    }
    function old() {
      var t = document.createElement('textarea');
      t.value = text;
      t.className = 'vh';
      document.body.appendChild(t);
      t.select();
      var ok = false;
      try { ok = document.execCommand('copy'); } catch (e) { ok = false; }
      t.remove();
      button.focus();
      done(ok);
    }
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(text).then(function () { done(true); }, old);
    } else {
      old();
    }
  }
  document.addEventListener('click', function (e) {
    var b = e.target.closest ? e.target.closest('button.copy') : null;
    if (b) { copy(b.dataset.copy, b); }
  });
  if ($('copyall')) {
    $('copyall').addEventListener('click', function () {
      var all = Array.prototype.map.call(document.querySelectorAll('button.ioc'), function (b) { return b.dataset.copy; });
      copy(all.join('\n'), $('copyall'));
    });
  }

  var table = $('ft');
  if (table) {
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows);
    var texts = null;
    var boxes = Array.prototype.slice.call(document.querySelectorAll('input[name=sev]'));
    // Words are looked for in what is shown and in the values as they are, so that an address is found either way.
    var plain = function (s) { return s.toLowerCase().replace(/\[([.:])\]/g, '$1').replace(/hxxp/g, 'http'); };
    var filter = function () {
      if (!texts) {
        texts = rows.map(function (r) { return plain(r.textContent + ' ' + r.id); });
      }
      var words = plain($('q').value).split(/\s+/).filter(Boolean);
      var rule = $('rule').value;
      var on = {};
      boxes.forEach(function (b) { on[b.value] = b.checked; });
      var n = 0;
      rows.forEach(function (r, i) {
        var ok = on[r.dataset.name] !== false && (!rule || r.dataset.rule === rule) &&
          words.every(function (w) { return texts[i].indexOf(w) >= 0; });
        r.hidden = !ok;
        if (ok) { n++; }
      });
      $('shown').textContent = n + ' of ' + rows.length + (rows.length === 1 ? ' finding' : ' findings') + ' shown';
    };
    $('q').addEventListener('input', filter);
    $('rule').addEventListener('change', filter);
    boxes.forEach(function (b) { b.addEventListener('change', filter); });
    document.querySelector('form.filter').addEventListener('submit', function (e) { e.preventDefault(); });

    table.tHead.addEventListener('click', function (e) {
      var b = e.target.closest('button[data-key]');
      if (!b) { return; }
      var th = b.parentNode, key = b.dataset.key;
      var up = th.getAttribute('aria-sort') === 'descending' ||
        (th.getAttribute('aria-sort') === null && key !== 'sev' && key !== 'conf');
      Array.prototype.forEach.call(table.tHead.rows[0].cells, function (c) { c.removeAttribute('aria-sort'); });
      th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      // Nanoseconds are more than a number holds: equal lengths compare as text.
      var number = key === 'sev' || key === 'conf';
      var sorted = rows.map(function (r, i) { return { r: r, v: number ? +r.dataset[key] : r.dataset[key], i: i }; });
      sorted.sort(function (a, b) {
        var c = a.v < b.v ? -1 : a.v > b.v ? 1 : 0;
        return (up ? c : -c) || a.i - b.i;
      });
      var f = document.createDocumentFragment();
      sorted.forEach(function (s) { f.appendChild(s.r); });
      body.appendChild(f);
    });
    var all = function (open) {
      rows.forEach(function (r) { if (!r.hidden) { r.querySelector('details').open = open; } });
    };
    $('open').addEventListener('click', function () { all(true); });
    $('close').addEventListener('click', function () { all(false); });
  }

  // Paper cannot be clicked.
  var shut = [];
  window.addEventListener('beforeprint', function () {
    shut = Array.prototype.filter.call(document.querySelectorAll('details'), function (d) { return !d.open; });
    shut.forEach(function (d) { d.open = true; });
  });
  window.addEventListener('afterprint', function () { shut.forEach(function (d) { d.open = false; }); });
})();
