/** The page as one file that needs no server (`loss-slicer export --format html`): the slices stand in the document. */
import { render } from "./index";
import { answerBy } from "./lib/api";
import { answersOf } from "./lib/embedded";

answerBy(answersOf(document.getElementById("loss-slicer-slices")?.textContent ?? ""));
render();
