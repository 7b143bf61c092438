import { type ReactNode, useLayoutEffect, useRef, useState } from "react";

interface VirtualListProps<T> {
  readonly label: string;
  readonly items: readonly T[];
  readonly rowHeight: number;
  /** Rows that are seen at once, at most. */
  readonly rows: number;
  readonly keyOf: (item: T) => string;
  readonly children: (item: T) => ReactNode;
}

const OVERSCAN = 6;

/** A list of any length, of which only the rows in sight (and a few around them) are in the document. */
export function VirtualList<T>({ label, items, rowHeight, rows, keyOf, children }: VirtualListProps<T>) {
  const [top, setTop] = useState(0);
  const scroller = useRef<HTMLUListElement>(null);
  // A filter may leave fewer rows than were scrolled past.
  useLayoutEffect(() => {
    const last = Math.max(items.length * rowHeight - rows * rowHeight, 0);
    if (top > last) setTop(last);
  }, [items.length, rowHeight, rows, top]);
  const first = Math.max(Math.floor(top / rowHeight) - OVERSCAN, 0);
  const end = Math.min(first + rows + 2 * OVERSCAN, items.length);
  return (
    <ul
      ref={scroller}
      aria-label={label}
      className="overflow-y-auto"
      style={{ maxHeight: rows * rowHeight }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <li aria-hidden style={{ height: first * rowHeight }} />
      {items.slice(first, end).map((item, index) => (
        <li
          key={keyOf(item)}
          aria-setsize={items.length}
          aria-posinset={first + index + 1}
          style={{ height: rowHeight }}
        >
          {children(item)}
        </li>
      ))}
      <li aria-hidden style={{ height: (items.length - end) * rowHeight }} />
    </ul>
  );
}
