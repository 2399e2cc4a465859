// What every page loads: it keeps itself as the server would render it now. Without it the page reads and works the same.

import { follow } from "./feed";
import * as line from "./line";
import * as page from "./page";
import * as present from "./present";

// The way in that the human's own program opened: nobody is asked twice.
document.querySelector<HTMLFormElement>("form[data-press]")?.requestSubmit();

const { root, seq } = document.documentElement.dataset;
// What came of a form stands at the form's own address, which nobody can ask for again: it stays as it is.
const stays = location.pathname.endsWith("/act");
if (root !== undefined && seq !== undefined && !stays) {
  line.start();
  page.start();
  if (page.showsAll()) present.start(root);
  follow(root, seq, {
    moved: page.moved,
    anew: page.look,
    line: line.show,
    // The page asks for the sign-in, which leads back here.
    out: () => location.reload(),
  });
}
