/* One episode of the page's data. Every text goes into the document as text, never as markup. */
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const SCREEN_CHARACTERS = 1200; // of a text, before a button shows the rest
const SCREEN_LINES = 16;

const OUTCOMES = {
  passed: { mark: "✓", name: "passed" },
  failed: { mark: "✗", name: "failed" },
  over_budget: { mark: "◔", name: "over budget" },
  aborted: { mark: "⊘", name: "aborted" },
};
const ENDS = {
  answer: "ended by an answer",
  step_limit: "forced to end: too many steps",
  impossible_call: "forced to end: a call in a turn that cannot be done",
  ill_formed: "ended by an ill-formed reply",
  not_reached: "not finished",
};
const REPLIES = { tool_call: "calls", answer: "answer", ill_formed: "ill-formed" };
const STATUS = { ok: "", error: "tool error", raised: "execution error", not_run: "not executed" };
const STOPS = {
  completed: "every turn was played",
  over_budget: "the token budget was used up",
  force_quit: "too many steps in one turn ended the entry",
  aborted: "stopped from outside, not by the model",
};

// ---- small things

const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en-US");
const words = (name) => name.replaceAll("_", " ");
const many = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
const share = (value) => value.toFixed(2).replace(/\.?0+$/, "");

/** An element. A child is a node or a string; a string becomes a text node. */
function el(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A text of the data is a string, or {head, tail, left} when its middle was left out of the page. */
function whole(text) {
  if (typeof text === "string") return text;
  return `${text.head}\n[… ${number(text.left)} characters left out of this page …]\n${text.tail}`;
}

/** A text in a block of its own; a long one is cut until its button is pressed. */
function block(text, className) {
  const all = whole(text);
  const lines = all.split("\n", SCREEN_LINES + 1);
  const body = el("pre", `text ${className}`);
  if (all.length <= SCREEN_CHARACTERS && lines.length <= SCREEN_LINES) {
    body.textContent = all;
    return body;
  }
  const first = lines.slice(0, SCREEN_LINES).join("\n").slice(0, SCREEN_CHARACTERS);
  const button = el("button", "more");
  button.type = "button";
  const fill = (open) => {
    body.textContent = open ? all : `${first} …`;
    button.textContent = open ? "show less" : `show all ${number(all.length)} characters`;
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => fill(button.getAttribute("aria-expanded") !== "true"));
  fill(false);
  return el("div", "long", body, button);
}

function count(episode) {
  const replies = episode.turns.flatMap((turn) => turn.replies);
  const calls = replies.flatMap((reply) => reply.calls);
  return {
    replies: replies.length,
    calls: calls.length,
    errors: calls.filter((call) => call.status === "error" || call.status === "raised").length,
    illFormed: replies.filter((reply) => reply.kind === "ill_formed").length,
  };
}

// ---- one episode

function badge(outcome, errorType) {
  const { mark, name } = OUTCOMES[outcome];
  const label = outcome === "failed" && errorType ? `${name}: ${words(errorType)}` : name;
  return el("span", `badge ${outcome}`, `${mark} ${label}`);
}

function turnMark(turn) {
  if (!turn.played) return "–";
  return turn.score ? "✓" : "✗";
}

function showEpisode(episode) {
  const sums = count(episode);
  const calls = episode.kind === "calls";
  const title = el("h2", "", episode.id, " ", badge(episode.outcome, episode.error_type));
  const facts = [
    ["turn scores", `${episode.turns.map((turn) => turn.score).join(" ")}  (progress ${share(episode.progress)})`],
    ["official verdict", episode.error_type ? `not valid: ${words(episode.error_type)}` : "valid"],
    ["format reward", calls ? "" : share(episode.format)],
    ["ended", calls ? "" : STOPS[episode.stop]],
    ["played", `${calls ? "" : `${words(episode.feedback)} feedback, `}${episode.rules} rules, release ${episode.release}`],
    ["model", `${many(sums.replies, calls ? "step" : "reply").replace("replys", "replies")}, ${many(sums.calls, "call")}, ` +
      `${many(sums.errors, "error")}${sums.illFormed ? `, ${sums.illFormed} ill-formed` : ""}`],
    ["tokens", episode.record.tokens_in == null ? "" : `${number(episode.record.tokens_in)} in, ${number(episode.record.tokens_out ?? 0)} out`],
    ["time", episode.record.seconds == null ? "" : `${share(episode.record.seconds)} s`],
    ["stored", `${data.files[episode.file].name}, line ${episode.line}`],
  ];
  const list = el("dl", "facts");
  for (const [name, value] of facts) if (value) list.append(el("div", "", el("dt", "", name), el("dd", "", value)));
  const strip = el("p", "strip");
  strip.setAttribute("aria-label", "Turns");
  episode.turns.forEach((turn, index) => {
    const jump = el("button", `step ${turn.played ? (turn.score ? "passed" : "failed") : "unplayed"}`, `${turnMark(turn)} turn ${index + 1}`);
    jump.type = "button";
    jump.addEventListener("click", () => $(`turn-${index + 1}`).scrollIntoView());
    strip.append(jump);
  });
  const header = el("header", "", title, list, strip);
  if (episode.error_message) header.append(el("p", "verdict", "Verdict (it counts turns from 0): ", episode.error_message));
  for (const note of episode.notes) header.append(el("p", "note", "Note: ", note));
  $("episode").replaceChildren(header, ...episode.turns.map((turn, index) => showTurn(episode, turn, index)));
  $("episode").scrollTop = 0;
}

function showTurn(episode, turn, index) {
  const section = el("section", "turn");
  section.id = `turn-${index + 1}`;
  let end = episode.kind === "calls" ? "" : ENDS[turn.end];
  if (!turn.played) end = "not reached";
  const score = el("span", `score ${turn.played ? (turn.score ? "passed" : "failed") : ""}`, `${turnMark(turn)} score ${turn.score}`);
  section.append(el("h3", "", `Turn ${index + 1} of ${episode.turns.length}`, score, el("span", "end", end)));
  if (turn.revealed.length) section.append(el("p", "fact", "Now on offer: ", el("code", "", turn.revealed.join(", "))));
  if (!turn.possible) section.append(el("p", "fact", "This request cannot be fulfilled with what is on offer: right is an answer without a call."));
  section.append(el("div", "said user", el("h4", "", "Request"), block(turn.request, "")));
  turn.replies.forEach((reply, place) => section.append(showReply(reply, place, episode.kind === "calls")));
  if (turn.played) section.append(showEnd(turn));
  return section;
}

function showReply(reply, place, callsOnly) {
  const heading = callsOnly ? `Step ${place + 1}` : `Reply ${place + 1} · ${REPLIES[reply.kind]}`;
  const said = el("div", `said model ${reply.kind}`, el("h4", "", heading));
  if (reply.error) said.append(el("p", "problem", `✗ ${reply.error}`));
  if (reply.raw) said.append(block(reply.raw, "raw"));
  if (reply.hint) said.append(hintOf(reply));
  if (reply.think) said.append(labelled("think", block(reply.think, "think")));
  if (reply.answer) said.append(labelled("answer", block(reply.answer, "answer")));
  if (callsOnly && !reply.calls.length) said.append(el("p", "fact", "nothing was called"));
  for (const call of reply.calls) {
    const one = el("div", `call ${call.status}`, labelled("call", block(call.call, "code")));
    if (call.status === "not_run") one.append(el("p", "problem", "⊘ not executed"));
    else one.append(labelled(STATUS[call.status] ? `✗ ${STATUS[call.status]}` : "result", block(call.result, "result")));
    if (call.unread) one.append(labelled("", el("p", "fact", `The model was not given the middle ${number(call.unread)} characters.`)));
    if (call.hint) one.append(hintOf(call));
    said.append(one);
  }
  return said;
}

function hintOf({ hint, hint_id }) {
  return labelled("➜ hint", Object.assign(el("p", "hint", hint), { title: hint_id }));
}

function labelled(label, content) {
  return el("div", "labelled", el("span", "label", label), content);
}

function showEnd(turn) {
  const end = el("div", "turn-end");
  const places = turn.state.length + turn.state_more;
  if (!places) {
    end.append(el("p", "same", "✓ State equals the ground truth's."));
  } else {
    const table = el("table", "diff", el("caption", "", `✗ State differs from the ground truth's in ${many(places, "place")}`));
    const head = ["where", "− model", "+ ground truth"].map((name) => Object.assign(el("th", "", name), { scope: "col" }));
    table.append(el("thead", "", el("tr", "", ...head)));
    const body = el("tbody", "");
    for (const place of turn.state) {
      const where = Object.assign(el("th", "where", place.path), { scope: "row" });
      body.append(el("tr", "", where, cell(place.model, "minus"), cell(place.gold, "plus")));
    }
    table.append(body);
    end.append(el("div", "scroll", table));
    if (turn.state_more) end.append(el("p", "fact", `… and ${many(turn.state_more, "more place")}`));
  }
  if (turn.missing.length) {
    const list = el("ul", "missing", ...turn.missing.map((text) => el("li", "", block(text, "result"))));
    end.append(el("p", "differs", `✗ ${many(turn.missing.length, "result")} of the ground truth not among the model's so far:`), list);
  } else if (turn.possible) {
    end.append(el("p", "same", "✓ Every result of the ground truth is among the model's."));
  }
  if (turn.gold.length) {
    const gold = el("details", "gold", el("summary", "", `Ground truth: ${many(turn.gold.length, "call")}`));
    gold.append(...turn.gold.map((call) => block(call, "code")));
    end.append(gold);
  }
  return end;
}

function cell(value, side) {
  if (value === null) return el("td", `${side} absent`, "not there");
  return el("td", side, block(value, ""));
}
