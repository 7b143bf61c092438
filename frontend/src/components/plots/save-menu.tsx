import { ImageDown } from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { type RefObject, useState } from "react";
import { Button } from "@/components/ui/button";
import { usePlotTheme } from "@/contexts/theme-context";
import type { CardKey } from "@/lib/cards";
import { seriesLabel, stepText } from "@/lib/describe";
import { methodLabel } from "@/lib/methods";
import { cardName, displayName, tagName } from "@/lib/names";
import type { SliceData } from "@/lib/slice";
import { type PictureFormat, SCALES, savePicture } from "./save-picture";

interface SaveMenuProps {
  readonly card: CardKey;
  readonly data: SliceData | undefined;
  readonly figure: RefObject<HTMLElement | null>;
}

const ITEM =
  "flex min-h-7 cursor-pointer items-center rounded px-2 py-1 text-sm outline-none data-[highlighted]:bg-muted";

/** The picture of a card as a file: PNG at one to four times the size on the screen, or SVG. */
export function SaveMenu({ card, data, figure }: SaveMenuProps) {
  const theme = usePlotTheme();
  const [problem, setProblem] = useState<string | null>(null);
  const save = async (format: PictureFormat, scale: number) => {
    if (!data || !figure.current) return;
    try {
      await savePicture(figure.current, {
        title: tagName(data.tag),
        lines: [
          `${methodLabel(data.header.sliceType)} · ${data.series.map(seriesLabel).join(", ")} · ${stepText(data.header, data.step)}`,
          displayName(data.run),
        ],
        name: `${data.tag} ${data.run} step ${data.step}`,
        ...{ format, scale, theme },
      });
      setProblem(null);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "unknown");
    }
  };
  return (
    <>
      {problem !== null && (
        <span role="alert" className="text-destructive text-xs">
          Not saved: {problem}
        </span>
      )}
      <DropdownMenu.Root modal={false}>
        <DropdownMenu.Trigger asChild>
          <Button
            variant="ghost"
            size="iconSmall"
            aria-label={`Save the picture of ${cardName(card)}`}
            title="Save the picture"
            disabled={!data}
          >
            <ImageDown />
          </Button>
        </DropdownMenu.Trigger>
        <DropdownMenu.Portal>
          <DropdownMenu.Content
            align="end"
            sideOffset={4}
            className="z-50 min-w-40 rounded border bg-popover p-1 shadow-lg"
          >
            {SCALES.map((scale) => (
              <DropdownMenu.Item key={scale} className={ITEM} onSelect={() => void save("png", scale)}>
                PNG, {scale}×
              </DropdownMenu.Item>
            ))}
            <DropdownMenu.Item className={ITEM} onSelect={() => void save("svg", 2)}>
              SVG
            </DropdownMenu.Item>
          </DropdownMenu.Content>
        </DropdownMenu.Portal>
      </DropdownMenu.Root>
    </>
  );
}
