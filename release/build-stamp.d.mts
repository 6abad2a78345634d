export class BuildStamp {
  constructor(root: string, options?: { settledMs?: number });
  isCurrent(): boolean;
  begin(): void;
  end(): void;
}
