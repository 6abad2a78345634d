/** What a person asks the cluster for in the page: one thing at a time, and its refusal in words beside it. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';

export interface Action {
  busy: boolean;
  /** Why the last one was refused; empty: it was not. */
  error: string;
  /** Whether it was carried out. */
  run: (act: () => Promise<void>) => Promise<boolean>;
}

export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState('');
  const run = async (act: () => Promise<void>): Promise<boolean> => {
    setBusy(true);
    setError('');
    try {
      await act();
      return true;
    } catch (problem) {
      setError(problem instanceof Error ? problem.message : String(problem));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, run };
}

export function Refusal({ error }: { error: string }) {
  if (error === '') return null;
  return (
    <span class="error" role="alert">
      {error}
    </span>
  );
}

/** A button that asks once before it does what can't be undone. */
export function AskOnce({
  label,
  about,
  disabled,
  act,
}: {
  label: string;
  /** What it would be done to, for those who read by ear. */
  about: string;
  disabled: boolean;
  act: () => void;
}) {
  const [asking, setAsking] = useState(false);
  if (!asking)
    return (
      <button
        type="button"
        disabled={disabled}
        aria-label={`${label} ${about}`}
        onClick={() => setAsking(true)}
      >
        {label}
      </button>
    );
  return (
    <>
      <button
        type="button"
        disabled={disabled}
        aria-label={`Really ${label.toLowerCase()} ${about}`}
        onClick={() => {
          setAsking(false);
          act();
        }}
      >
        Really {label.toLowerCase()}
      </button>
      <button type="button" onClick={() => setAsking(false)}>
        Keep
      </button>
    </>
  );
}

/** A form whose fields are read when it is sent. */
export function ActionForm({
  label,
  send,
  disabled,
  action,
  run,
  children,
}: {
  /** Its name for those who read by ear. */
  label: string;
  /** What its button says. */
  send: string;
  disabled: boolean;
  action: Action;
  run: (data: FormData) => Promise<void>;
  children: ComponentChildren;
}) {
  return (
    <form
      class="inline"
      aria-label={label}
      onSubmit={(event) => {
        event.preventDefault();
        const form = event.currentTarget;
        void action.run(() => run(new FormData(form))).then((done) => done && form.reset());
      }}
    >
      {children}
      <button type="submit" disabled={disabled || action.busy}>
        {send}
      </button>
      <Refusal error={action.error} />
    </form>
  );
}

/** What a field of a form holds, without spaces around it. */
export function textOf(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === 'string' ? value.trim() : '';
}
