import { Download } from "lucide-react";
import type { ReactNode } from "react";
import { LinkButton } from "@/components/ui/button";
import { exportAddress } from "@/lib/api";
import { jsonText, words } from "@/lib/describe";
import type { Json, SliceData } from "@/lib/slice";
import { formatNumber, formatWithError } from "@/maths/format";

export interface Fact {
  readonly label: string;
  readonly value: string;
}

interface SliceInfoProps {
  readonly sliceData: SliceData;
  /** What this kind of slice has to say before everything else. */
  readonly facts: readonly Fact[];
}

/** The numbers of the whole slice, and where it comes from. */
export function SliceInfo({ sliceData, facts }: SliceInfoProps) {
  const { header, run, tag, step } = sliceData;
  const { center } = header;
  const centerFacts: Fact[] = [
    ...Object.entries(center?.loss ?? {}).map(([split, value]) => fact(`loss (${split})`, value)),
    ...Object.entries(center?.metrics ?? {}).flatMap(([name, splits]) =>
      Object.entries(splits).map(([split, value]) => fact(`${name} (${split})`, value)),
    ),
    ...(center?.norm == null ? [] : [fact("norm of θ₀", center.norm)]),
  ];
  return (
    <div className="space-y-3 text-xs">
      <FactGroup title="This slice" facts={facts} />
      <FactGroup title="Center" facts={centerFacts} />
      <FactGroup
        title="Measures"
        facts={header.measures.map(({ name, value, error }) => ({
          label: words(name),
          value: value === null ? "not finite" : formatWithError(value, error, 5),
        }))}
      />
      {header.directions.map((direction, index) => (
        <FactGroup
          key={index}
          title={`Direction ${direction.name}`}
          facts={[
            ...(direction.norm === null ? [] : [fact("norm", direction.norm)]),
            ...(direction.explainedVariance === null
              ? []
              : [fact("explained variance", direction.explainedVariance)]),
            ...(direction.eigenvalue === null ? [] : [fact("eigenvalue", direction.eigenvalue)]),
            ...jsonFacts(direction.recipe),
          ]}
        />
      ))}
      {header.cosine !== null && (
        <FactGroup title="Directions together" facts={[fact("cosine", header.cosine)]} />
      )}
      <Disclosure title="How it was made">
        <FactGroup title="Checkpoint" facts={jsonFacts(header.checkpoint)} />
        <FactGroup title="Evaluation" facts={jsonFacts(header.evaluation)} />
        <FactGroup title="Configuration" facts={jsonFacts(header.config)} />
      </Disclosure>
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
    </div>
  );
}

function fact(label: string, value: number): Fact {
  return { label, value: formatNumber(value) };
}

function jsonFacts(fields: Readonly<Record<string, Json>>): Fact[] {
  return Object.entries(fields).map(([name, value]) => ({ label: words(name), value: jsonText(value) }));
}

function FactGroup({ title, facts }: { title: string; facts: readonly Fact[] }) {
  if (facts.length === 0) return null;
  return (
    <section>
      <h3 className="mb-1 font-medium text-muted-foreground [overflow-wrap:anywhere]">{title}</h3>
      <dl className="grid grid-cols-2 gap-x-3 gap-y-0.5">
        {facts.map(({ label, value }) => (
          <div key={label} className="contents">
            <dt className="text-muted-foreground [overflow-wrap:anywhere]">{label}</dt>
            <dd className="text-right [overflow-wrap:anywhere]">{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

export function Disclosure({ title, children }: { title: string; children: ReactNode }) {
  return (
    <details className="group">
      <summary className="cursor-pointer rounded py-1 font-medium text-muted-foreground hover:text-foreground">
        {title}
      </summary>
      <div className="space-y-3 pt-1">{children}</div>
    </details>
  );
}
