/** The page as one file that needs no server (`loss-slicer export --format html`): the slices stand in the document. */
import { answerBy } from "./lib/api";
import { answersOf } from "./lib/embedded";
import { render } from "./page";
import { start } from "./start";

answerBy(answersOf(document.getElementById("loss-slicer-slices")?.textContent ?? ""));
render(start());
