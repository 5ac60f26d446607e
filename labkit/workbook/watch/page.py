"""PURE: the page that is watched. Its parts come by a stream of JSON objects, ``{part: html, …}``, those that changed.

What changes stands in elements that stay, so that the keyboard's focus stays too. Addresses are relative to the page's
own, which holds the token.
"""

from __future__ import annotations

from labkit.lab import Lab
from labkit.pictures.svg import esc
from labkit.workbook.page import render_page

SILENT_S = 15
"""So long after the last word the page says that the stream has stopped."""
STYLE = """
body { max-width: 1500px }
h1 { margin: 0 0 .3em } #state { font-weight: 600; margin: 0 } #stopped { color: #c03a44; font-weight: 600; margin: 0 }
#parts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); gap: 0 28px }
#parts > * { min-width: 0 } .old { opacity: .6 }
fieldset { border: 1px solid var(--jp-border-color1); border-radius: 4px; margin: 18px 0 }
#power { display: grid; grid-template-columns: repeat(auto-fill, minmax(350px, 1fr)); gap: 4px 20px }
h2 { font-size: inherit; margin: 1.2em 0 .4em } #services { list-style: none; padding: 0 }
#pressed { margin: 6px 0 0 } #pressed:empty { margin: 0 } #heard { white-space: pre-wrap; overflow-wrap: anywhere }
#power b { display: inline-block; min-width: 5.5em } dialog { max-width: 30em } dialog::backdrop { background: #0008 }
button { border: 1px solid var(--jp-border-color1); border-radius: 4px; padding: 2px 9px;
  background: var(--jp-layout-color2); color: var(--jp-ui-font-color1) }
button:disabled { opacity: .5 } :focus-visible { outline: 3px solid var(--jp-brand-color1); outline-offset: 2px }
"""
SCRIPT = """
const of = name => document.getElementById(name), stopped = of('stopped'), ask = of('ask');
let heard = Date.now(), up = '', button = null;
const show = words => {
  const old = Boolean(words || !up);
  stopped.textContent = words; of('buttons').disabled = old; of('parts').classList.toggle('old', old);
};
const stop = () => stopped.textContent || show('The stream has stopped: all this is as of '
  + new Date(heard).toLocaleTimeString()
  + '. If ./lab watch has ended, start it again and open the address that it prints.');
const source = new EventSource('events');
source.onerror = stop;
source.onmessage = message => {
  const {up: now = up, ...parts} = JSON.parse(message.data);
  heard = Date.now(); up = now; show('');
  for (const [name, html] of Object.entries(parts)) of(name).innerHTML = html;
};
setInterval(() => { if (Date.now() - heard > SILENT_S * 1000) stop(); }, 1000);
of('power').addEventListener('click', event => {
  const found = event.target.closest('button');
  if (!found) return;
  button = found; of('question').textContent = found.dataset.ask; ask.returnValue = ''; ask.showModal();
});
of('yes').addEventListener('click', () => ask.close('yes'));
of('no').addEventListener('click', () => ask.close(''));
ask.addEventListener('close', async () => {
  if (ask.returnValue !== 'yes') return;
  const {blade, state} = button.dataset;
  of('pressed').textContent = `${blade}: ${state} …`;
  try {
    const answer = await fetch('power', {method: 'POST', body: JSON.stringify({blade, state})});
    of('pressed').textContent = await answer.text();
  } catch (error) { of('pressed').textContent = `${blade}: ${state}: ./lab watch does not answer`; }
});
""".replace("SILENT_S", str(SILENT_S))


def watch_page(lab: Lab) -> str:
    """The page before its first parts have come."""
    body = f"""<h1>{esc(lab.name)}</h1><p id="state" role="status">looking …</p><p id="stopped" role="alert"></p>
<div id="parts"><section><div id="chassis"></div><fieldset id="buttons" disabled><legend>Power buttons</legend>
<div id="power"></div><p id="pressed" role="status"></p></fieldset><div id="topology"></div>
<ul id="services" aria-label="Services"></ul></section>
<section><div id="progress"></div><div id="boots"></div><h2 id="last">Heard last</h2>
<pre id="heard" tabindex="0" aria-labelledby="last"></pre></section></div>
<dialog id="ask" aria-labelledby="question"><p id="question"></p>
<button id="yes" type="button">Press it</button> <button id="no" type="button" autofocus>Cancel</button></dialog>"""
    return render_page(f"{lab.name}, live", body, script=SCRIPT, style=STYLE)
