/**
 * Completion scripts for three shells. Each first finds the command by walking the words typed so far, then offers what
 * that command takes.
 */
import type { CompletionNode, CompletionOption } from "./tree.ts";

export const shellNames = ["bash", "zsh", "fish"] as const;
export type ShellName = (typeof shellNames)[number];

export const completionScripts: Record<ShellName, (tree: readonly CompletionNode[]) => string> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

function bashScript(tree: readonly CompletionNode[]): string {
  return lines([
    "# bash completion for baton",
    "_baton() {",
    `  local word typed="" current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" offered="" values=""`,
    `  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do`,
    ...walk(tree),
    "  done",
    ...offers(tree),
    '  if [[ $values == "<file>" ]]; then',
    '    COMPREPLY=($(compgen -f -- "$current"))',
    "  else",
    `    COMPREPLY=($(compgen -W "\${values:-$offered}" -- "$current"))`,
    "  fi",
    "}",
    "complete -F _baton baton",
  ]);
}

function zshScript(tree: readonly CompletionNode[]): string {
  return lines([
    "#compdef baton",
    "_baton() {",
    `  local word typed="" previous="\${words[CURRENT-1]}" offered="" values=""`,
    `  for word in "\${words[@]:1:CURRENT-2}"; do`,
    ...walk(tree),
    "  done",
    ...offers(tree),
    '  if [[ $values == "<file>" ]]; then',
    "    _files",
    "  else",
    `    compadd -- \${=values:-\${=offered}}`,
    "  fi",
    "}",
    'if [[ $funcstack[1] == "_baton" ]]; then _baton "$@"; else compdef _baton baton; fi',
  ]);
}

/** Adds a word to what was typed where a command of that name is below it. The same in bash and zsh, where `path` is taken. */
function walk(tree: readonly CompletionNode[]): string[] {
  return [
    `    case "\${typed:+$typed }$word" in`,
    `      ${commandPaths(tree)
      .map((path) => `"${path}"`)
      .join("|")}) typed="\${typed:+$typed }$word" ;;`,
    "    esac",
  ];
}

function offers(tree: readonly CompletionNode[]): string[] {
  const values = tree.flatMap((node) =>
    node.options
      .filter((option) => option.takesValue)
      .map((option) => `    "${node.path} ${option.flag}") values="${valuesOf(option)}" ;;`),
  );
  return [
    '  case "$typed $previous" in',
    ...values,
    "  esac",
    '  case "$typed" in',
    ...tree.map((node) => `    "${node.path}") offered="${wordsOf(node).join(" ")}" ;;`),
    "  esac",
  ];
}

function wordsOf(node: CompletionNode): string[] {
  return [...node.subcommands.map(({ name }) => name), ...node.choices, ...node.options.map(({ flag }) => flag)];
}

/** A value that nobody can guess gets one blank, so that commands are not offered in its place. */
function valuesOf(option: CompletionOption): string {
  if (option.file) return "<file>";
  return option.choices.length > 0 ? option.choices.join(" ") : " ";
}

function fishScript(tree: readonly CompletionNode[]): string {
  const paths = commandPaths(tree);
  return lines([
    "# fish completion for baton",
    "function __baton_path",
    "  set -l path",
    "  for word in (commandline -opc)[2..-1]",
    "    set -l longer (string join ' ' $path $word)",
    `    if contains -- $longer ${paths.map(fishQuote).join(" ")}`,
    "      set path (string split ' ' $longer)",
    "    end",
    "  end",
    "  string join ' ' $path",
    "end",
    "function __baton_at",
    '  test "$(__baton_path)" = "$argv[1]"',
    "end",
    "complete -c baton -f",
    ...tree.flatMap(fishNode),
  ]);
}

function fishNode(node: CompletionNode): string[] {
  const at = `complete -c baton -n ${fishQuote(`__baton_at ${fishQuote(node.path)}`)}`;
  return [
    ...node.subcommands.map(({ name, summary }) => `${at} -a ${name} -d ${fishQuote(summary)}`),
    ...(node.choices.length > 0 ? [`${at} -a ${fishQuote(node.choices.join(" "))}`] : []),
    ...node.options.map(
      (option) => `${at} -l ${option.flag.replace(/^-+/, "")}${fishValue(option)} -d ${fishQuote(option.summary)}`,
    ),
  ];
}

function fishValue(option: CompletionOption): string {
  if (!option.takesValue) return "";
  if (option.file) return " -r -F";
  return option.choices.length > 0 ? ` -x -a ${fishQuote(option.choices.join(" "))}` : " -x";
}

function fishQuote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}

function commandPaths(tree: readonly CompletionNode[]): string[] {
  return tree.flatMap(({ path, subcommands }) =>
    subcommands.map(({ name }) => (path === "" ? name : `${path} ${name}`)),
  );
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
