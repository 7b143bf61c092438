import { Columns2, Maximize2, Minimize2, Pin } from "lucide-react";
import { memo } from "react";
import { IconButton } from "@/components/ui/icon-button";
import { type Card, useSliceData } from "@/contexts/slice-data-context";
import { includesCard, MAX_COMPARED, sameCompared, toggledCard, toggledCompared } from "@/lib/cards";
import { cardName } from "@/lib/names";
import { formatCount } from "@/maths/format";

interface CardActionsProps {
  readonly card: Card;
  /** Of the slice that is shown; null where there is none. */
  readonly step: number | null;
}

/** What can be done with a card as a whole. */
export const CardActions = memo(function CardActions({ card, step }: CardActionsProps) {
  const { view, change } = useSliceData();
  const name = cardName(card);
  const wide = includesCard(view.wide, card);
  const compared = view.compared.some((entry) => sameCompared(entry, { ...card, step }));
  const full = !compared && view.compared.length >= MAX_COMPARED;
  return (
    <>
      <IconButton
        label={`Compare ${name}${step === null ? "" : `, step ${formatCount(step)}`}`}
        title={
          full ? `At most ${MAX_COMPARED} slices are compared` : "Compare the slice at this step with others"
        }
        pressed={compared}
        disabled={step === null || full}
        onClick={() => change({ compared: toggledCompared(view.compared, { ...card, step }) })}
      >
        <Columns2 />
      </IconButton>
      <IconButton
        label={`Pin ${name}`}
        title="Pin: stands first whatever is chosen"
        pressed={card.pinned}
        onClick={() => change({ pinned: toggledCard(view.pinned, card) })}
      >
        <Pin />
      </IconButton>
      <IconButton
        label={`Full width of ${name}`}
        title="Full width"
        pressed={wide}
        onClick={() => change({ wide: toggledCard(view.wide, card) })}
      >
        {wide ? <Minimize2 /> : <Maximize2 />}
      </IconButton>
    </>
  );
});
