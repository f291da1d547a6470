"use strict";
(() => {
  const embedded = window.self !== window.top;
  // Files beside the page have no address inside a notebook.
  if (embedded) document.querySelectorAll(".beside").forEach(node => node.remove());
  // A link into folded details opens them; inside a notebook, following it would replace the report by the notebook.
  document.querySelectorAll('a[href^="#"]').forEach(link => link.addEventListener("click", event => {
    const target = document.getElementById(link.hash.slice(1));
    if (!target) return;
    if (target.tagName === "DETAILS") target.open = true;
    if (!embedded) return;
    event.preventDefault();
    target.scrollIntoView();
  }));
  // Figures of several panels, one below the other on a phone, are folded there.
  if (matchMedia("(max-width: 600px)").matches) document.querySelectorAll("figure.long").forEach(figure => {
    const folded = Object.assign(document.createElement("details"), {className: "more"});
    figure.replaceWith(folded);
    folded.append(Object.assign(document.createElement("summary"), {textContent: "Show the figure"}), figure);
  });
  document.querySelectorAll("pre.use:not(.python)").forEach(block => {  // a line ends before an option, not within it
    const parts = block.textContent.split(/(?= --?[a-z])/);
    block.replaceChildren(...parts.flatMap(part => part.startsWith(" ")
      ? [" ", Object.assign(document.createElement("span"), {className: "option", textContent: part.slice(1)})] : [part]));
  });
  document.querySelectorAll("pre.use").forEach(block => {
    const button = Object.assign(document.createElement("button"), {type: "button", className: "copy", textContent: "Copy"});
    const done = () => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
    const select = () => {  // where the clipboard is not allowed
      getSelection().selectAllChildren(block);
      if (document.execCommand("copy")) done();
    };
    button.addEventListener("click", () => {
      if (navigator.clipboard) navigator.clipboard.writeText(block.textContent).then(done, select);
      else select();
    });
    const holder = Object.assign(document.createElement("div"), {className: "copied"});
    block.replaceWith(holder);
    holder.append(block, button);
  });
})();
