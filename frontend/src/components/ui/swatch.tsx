interface SwatchProps {
  readonly color: string;
  readonly className?: string;
}

/** A dot in the colour of a run or a line, also where the reader's own colours replace those of the page. */
export function Swatch({ color, className = "size-2" }: SwatchProps) {
  return (
    <span
      className={`inline-block shrink-0 rounded-full forced-color-adjust-none ${className}`}
      style={{ background: color }}
    />
  );
}
