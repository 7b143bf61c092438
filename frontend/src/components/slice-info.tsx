import { Download } from "lucide-react";
import type { ReactNode } from "react";
import { LinkButton } from "@/components/ui/button";
import { CopyBlock } from "@/components/ui/copy-block";
import { exportAddress, hasDownloads } from "@/lib/api";
import { commandOf, finerRegion } from "@/lib/command";
import { isCut, jsonText, stepUnit, words } from "@/lib/describe";
import { displayName } from "@/lib/names";
import type { Direction, Json, SliceData, Trajectory } from "@/lib/slice";
import { formatNumber, formatWithError, plural } from "@/maths/format";

export interface Fact {
  readonly label: string;
  readonly value: string;
}

interface SliceInfoProps {
  readonly sliceData: SliceData;
  /** What this kind of slice has to say before everything else. */
  readonly facts: readonly Fact[];
  /** The part of each axis that is in view; null where all is. */
  readonly visible?: readonly (readonly [number, number])[] | null;
}

/** Rows of a list that are shown; the whole is in the downloads. */
const LONGEST_LIST = 40;

/** The numbers of the whole slice, where it comes from, and how to make it again. */
export function SliceInfo({ sliceData, facts, visible = null }: SliceInfoProps) {
  const { header, run, tag, step } = sliceData;
  const { center } = header;
  const region = visible && finerRegion(header, visible);
  const command = commandOf(header);
  const finer = region && commandOf(header, region);
  const centerFacts: Fact[] = [
    ...splitFacts("loss", center?.loss),
    ...splitFacts("loss without weight decay", center?.dataLoss),
    ...splitFacts("loss on all samples", center?.wholeLoss),
    ...Object.entries(center?.metrics ?? {}).flatMap(([name, splits]) => splitFacts(words(name), splits)),
    ...(center?.norm == null ? [] : [fact("norm of θ₀", center.norm)]),
  ];
  return (
    <div className="space-y-3 text-xs" data-testid="info">
      <FactGroup title="This slice" facts={[...facts, ...interpolatedFact(sliceData)]} />
      <FactGroup title="Center" facts={centerFacts} />
      <FactGroup
        title="Measures"
        facts={header.measures.slice(0, LONGEST_LIST).map(({ name, value, error, details }) => ({
          label: words(name),
          value:
            value === null
              ? "not finite"
              : `${isCut(details) ? "≥ " : ""}${formatWithError(value, error, 5)}`,
        }))}
      />
      <Directions directions={header.directions} />
      {header.cosine !== null && (
        <FactGroup title="Directions together" facts={[fact("cosine", header.cosine)]} />
      )}
      {header.measures.some(({ details }) => detailFacts(details).length > 0) && (
        <Disclosure title="More of the measures">
          {header.measures.slice(0, LONGEST_LIST).map(({ name, details }) => (
            <FactGroup key={name} title={words(name)} facts={detailFacts(details)} />
          ))}
        </Disclosure>
      )}
      {header.trajectory && <Path trajectory={header.trajectory} unit={stepUnit(header)} />}
      <Disclosure title="How it was made">
        <FactGroup title="Checkpoint" facts={jsonFacts(header.checkpoint)} />
        <FactGroup title="Evaluation" facts={jsonFacts(header.evaluation)} />
        <FactGroup title="Configuration" facts={jsonFacts(header.config)} />
      </Disclosure>
      {command !== null && (
        <Disclosure title="Make it again" open={Boolean(finer)}>
          <p className="text-muted-foreground">
            The command that repeats this run. Read it before you run it.
          </p>
          <CopyBlock wrap text={command} label="Copy the command" />
          {finer ? (
            <>
              <p className="text-muted-foreground">A finer grid of the part in view:</p>
              <CopyBlock wrap text={finer} label="Copy the command for the part in view" />
            </>
          ) : (
            <p className="text-muted-foreground">Zoom in for the command of a finer grid of a part.</p>
          )}
        </Disclosure>
      )}
      {hasDownloads() && (
        <div className="flex flex-wrap gap-1.5">
          {(["csv", "npz", "json"] as const).map((format) => (
            <LinkButton
              key={format}
              size="small"
              href={exportAddress(run, tag, step, format)}
              download
              aria-label={`Download the numbers as ${format.toUpperCase()}`}
            >
              <Download />
              {format.toUpperCase()}
            </LinkButton>
          ))}
        </div>
      )}
    </div>
  );
}

/** One or two of a slice's own are told at once; a family has one for each curve. */
function Directions({ directions }: { readonly directions: readonly Direction[] }) {
  const groups = directions.slice(0, LONGEST_LIST).map((direction, index) => (
    <FactGroup
      key={index}
      title={`Direction ${displayName(direction.name)}`}
      facts={[
        ...(direction.norm === null ? [] : [fact("norm", direction.norm)]),
        ...(direction.explainedVariance === null
          ? []
          : [fact("explained variance", direction.explainedVariance)]),
        ...(direction.eigenvalue === null ? [] : [fact("eigenvalue", direction.eigenvalue)]),
        // The ends of a line are told below its plot.
        ...jsonFacts(withoutEnds(direction.recipe)),
      ]}
    />
  ));
  if (directions.length <= 2) return groups;
  const missing = directions.length - groups.length;
  return (
    <Disclosure title={plural(directions.length, "direction")}>
      {groups}
      {missing > 0 && <p className="text-muted-foreground">{`${missing} more are in the downloads.`}</p>}
    </Disclosure>
  );
}

/** The way of the checkpoints through the slice, as numbers. */
function Path({ trajectory, unit }: { readonly trajectory: Trajectory; readonly unit: string }) {
  const { steps, coordinates, residuals, losses } = trajectory;
  const splits = Object.entries(losses);
  return (
    <Disclosure title={`Path of ${plural(steps.length, "checkpoint")}`}>
      <div className="overflow-x-auto">
        <table className="w-full text-right">
          <thead className="text-muted-foreground">
            <tr>
              <th className="pr-2 text-left font-normal">{unit}</th>
              <th className="pr-2 font-normal">at</th>
              {residuals.length > 0 && <th className="pr-2 font-normal">off the plane</th>}
              {splits.map(([split]) => (
                <th key={split} className="pr-2 font-normal">
                  loss ({displayName(split, 40)})
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {steps.slice(0, LONGEST_LIST).map((step, index) => (
              <tr key={index}>
                <td className="pr-2 text-left">{formatNumber(step)}</td>
                <td className="whitespace-nowrap pr-2">
                  {(coordinates[index] ?? []).map((value) => formatNumber(value, 3)).join(", ")}
                </td>
                {residuals.length > 0 && (
                  <td className="pr-2">{formatNumber(residuals[index] ?? Number.NaN, 3)}</td>
                )}
                {splits.map(([split, values]) => (
                  <td key={split} className="pr-2">
                    {formatNumber(values[index] ?? Number.NaN, 4)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {steps.length > LONGEST_LIST && (
          <p className="text-muted-foreground">and {steps.length - LONGEST_LIST} more</p>
        )}
      </div>
    </Disclosure>
  );
}

function interpolatedFact({ series: [main] }: SliceData): Fact[] {
  if (!main.interpolated) return [];
  const filled = main.interpolated.reduce((sum, entry) => sum + (entry ? 1 : 0), 0);
  const share = (100 * filled) / main.interpolated.length;
  return [{ label: "interpolated", value: `${formatNumber(share, 3)} % of the points` }];
}

function splitFacts(name: string, splits: Readonly<Record<string, number>> = {}): Fact[] {
  return Object.entries(splits).map(([split, value]) => fact(split ? `${name} (${split})` : name, value));
}

function withoutEnds({ ends: _, ...recipe }: Readonly<Record<string, Json>>) {
  return recipe;
}

function fact(label: string, value: number): Fact {
  return { label, value: formatNumber(value) };
}

function jsonFacts(fields: Readonly<Record<string, Json>>): Fact[] {
  return Object.entries(fields)
    .slice(0, LONGEST_LIST)
    .map(([name, value]) => ({ label: words(name), value: jsonText(value) }));
}

function detailFacts(details: Json): Fact[] {
  if (details === null) return [];
  if (typeof details === "object" && !Array.isArray(details)) {
    return jsonFacts(details as Readonly<Record<string, Json>>);
  }
  return [{ label: "details", value: jsonText(details) }];
}

function FactGroup({ title, facts }: { title: string; facts: readonly Fact[] }) {
  if (facts.length === 0) return null;
  return (
    <section>
      <h3 className="mb-1 font-medium text-muted-foreground [overflow-wrap:anywhere]">
        {displayName(title)}
      </h3>
      <dl className="grid grid-cols-2 gap-x-3 gap-y-0.5">
        {facts.map(({ label, value }, index) => (
          <div key={`${index} ${label}`} className="contents">
            <dt className="text-muted-foreground [overflow-wrap:anywhere]">{displayName(label)}</dt>
            <dd className="text-right [overflow-wrap:anywhere]">{displayName(value, 1000)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

interface DisclosureProps {
  readonly title: string;
  readonly open?: boolean;
  readonly children: ReactNode;
}

export function Disclosure({ title, open, children }: DisclosureProps) {
  return (
    <details className="group" open={open}>
      <summary className="cursor-pointer rounded py-1 font-medium text-muted-foreground hover:text-foreground">
        {title}
      </summary>
      <div className="space-y-3 pt-1">{children}</div>
    </details>
  );
}
