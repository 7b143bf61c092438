import { Disclosure } from "@/components/slice-info";
import { displayName } from "@/lib/names";
import type { Json, SliceHeader } from "@/lib/slice";
import { formatNumber } from "@/maths/format";

const SHOWN = 30;

/** How far apart the ends of a line are, as a whole and layer by layer; nothing where the log does not say. */
export function EndsTable({ header }: { readonly header: SliceHeader }) {
  const recipe = header.directions[0]?.recipe;
  const ends = fields(recipe?.ends);
  const layers = Object.entries(fields(ends.layers)).flatMap(([name, share]) =>
    typeof share === "number" ? [{ name, share }] : [],
  );
  const facts = [
    ["‖θ‖ at the start", ends.norm_start],
    ["‖θ‖ at the end", ends.norm_end],
    ["‖Δθ‖", header.directions[0]?.norm],
    ["cosine of the ends", ends.cosine],
  ].flatMap(([label, value]) => (typeof value === "number" ? [{ label: String(label), value }] : []));
  if (layers.length === 0) return null;
  const sorted = layers.toSorted((a, b) => b.share - a.share);
  return (
    <div className="mt-1 text-xs" data-testid="ends">
      <p className="text-muted-foreground">
        {facts.map(({ label, value }) => `${label} ${formatNumber(value, 5)}`).join(" · ")}
      </p>
      <Disclosure title="Share of ‖Δθ‖² by layer">
        <table className="w-full max-w-xl">
          <thead className="sr-only">
            <tr>
              <th>layer</th>
              <th>share</th>
              <th>bar</th>
            </tr>
          </thead>
          <tbody>
            {sorted.slice(0, SHOWN).map(({ name, share }) => (
              <tr key={name}>
                <td className="max-w-56 py-0.5 pr-3 [overflow-wrap:anywhere]">{displayName(name)}</td>
                <td className="w-16 pr-3 text-right">{formatNumber(100 * share, 3)} %</td>
                <td aria-hidden="true">
                  <div
                    className="h-2 rounded-sm bg-primary/70"
                    style={{ width: `${Math.min(100 * share, 100)}%` }}
                  />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {sorted.length > SHOWN && <p>and {sorted.length - SHOWN} more</p>}
      </Disclosure>
    </div>
  );
}

function fields(value: Json | undefined): Readonly<Record<string, Json>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, Json>>)
    : {};
}
