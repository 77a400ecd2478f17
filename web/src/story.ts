// What the page is told: one run, or one attached session. Times are whole microseconds since the
// start of the run (the epoch of its history); -1 where there is none. Columns are arrays of equal
// length, one element an item, sorted by their first column.

export interface Story {
  version: 1;
  run: {
    scenario: string;            // its name; of an attached session: the rule file's
    adapter: string | null;
    seed: string;                // text: it may not fit a double
    args: string[];              // what every node got beside the adapter's arguments
    raftq: string;               // version that made the run
    started: string | null;      // RFC 3339, UTC
    length: number;              // us
    folder: string;
    repeat: string[];            // commands to repeat it or to look further, one a line
  };
  verdict: {
    word: "holds" | "violated" | "undecided" | "a rule never matched" | "failed";
    exit_code: number;
    why: string;                 // what it follows from where no finding says it
    findings: { check: string; verdict: "holds" | "violated" | "undecided" | "not made"; detail: string }[];
    warnings: string[];
  };
  phases: { name: string; from: number; to: number }[];       // warming up, faults, settling, ... ; also of the rules
  faults: { from: number; to: number } | null;                // the fault phase
  nodes: {
    name: string;
    roles: { from: number; to: number; role: "leader" | "candidate" | "follower" | "unknown"; term: number | null }[];
    states: { from: number; to: number; state: "up" | "paused" | "down" | "starting" | "removed"; why: string }[];
  }[];
  // What was done: one a rule's activation or a fault, as adopted (not as written).
  bands: {
    rule: string;
    kind: "packets" | "process";
    from: number;
    to: number;                  // the run's length where it never ended
    ended: boolean;
    nodes: number[];             // that it is about, indices in `nodes`
    links: [number, number][];   // directed, from and to
    does: string[];              // in words: "drop", "delay 20 ms", "kill"
    why: string;                 // as bound: "n2 leads in term 2, as heard on the wire"
    matched: number; acted: number; leaked: number;   // -1 where not known for this activation
  }[];
  rules: { name: string; activations: number; matched: number; acted: number; leaked: number;
           first: number; last: number; optional: boolean }[];
  elections: { at: number; term: number; group: string; candidates: number[]; leader: number; took: number }[];  // leader -1: none; took -1
  // Whatever else is a point in time.
  moments: { at: number; kind: "alarm" | "died" | "done" | "switched" | "told" | "term" | "leader"; node: number; text: string }[];
  unavailable: { from: number; to: number; ended: boolean }[]; // no node took a write
  recovery: { healed: number; after: number; limit: number } | null;  // us; after -1: never
  loads: { workload: string; history: string; clients: number; ok: number; failed: number; unknown: number;
           p50: number; p99: number; errors: { why: string; times: number }[] }[];
  calls: {
    begin: number[]; end: number[];      // end -1: never answered
    lane: number[];                      // index in `lanes`
    f: number[];                         // index in `functions`
    key: number[];                       // index in `keys`, -1 none
    outcome: number[];                   // 0 ok, 1 surely not done, 2 unknown
    node: number[];                      // index in `nodes`, -1 unknown
    text: number[];                      // index in `texts`: what was asked and answered, for people
    weight: number[];                    // how many calls each stands for, itself among them, where others are left out; empty: 1 each
  };
  lanes: { name: string; load: number }[];     // one a client
  functions: string[]; keys: string[]; texts: string[];
  blamed: number[];                            // indices in `calls`: those that a violation is about
  evidence: { history: string; check: string; object: string; summary: string;
    lines: { process: string; node: string | null; text: string; begin: number; end: number; blamed: boolean; call: number }[] }[];
  alarms: { at: number; invariant: string; said: string; evidence: string[]; nodes: number[] }[];
  // Raft's messages as seen on the wire, before they were judged.
  messages: {
    at: number[]; from: number[]; to: number[];  // indices in `nodes`, -1 unknown
    kind: number[];                              // index in `kinds`
    term: number[];                              // -1 not told
    fate: number[];                              // 0 passed, or not known where delay is -1, 1 delayed, 2 dropped, 3 reset, 4 changed
    delay: number[];                             // us, by raftq; 0 none, -1 not known
  };
  kinds: string[];
  // With --trace (all packets), else those that were disturbed, as far as known.
  packets: { at: number[]; from: number[]; to: number[]; fate: number[]; rule: number[]; delay: number[] } | null; // rule: index in `rules`, -1
  links: { from: number; to: number; packets: number; dropped: number; trimmed: number; delayed: number;
           late: { count: number; p50: number; p99: number; max: number } | null }[];   // late: us behind the due time
  totals: { name: string; value: number }[];      // sums of the network, in words, those that are not zero
  logs: { node: number; at: number; why: string; file: string; lines: string[]; cut: boolean }[]; // excerpts around events
  files: { name: string; what: string }[];        // where the evidence is, relative to the report
  left_out: string[];                             // what the page does not show because of its limits, in words
}
