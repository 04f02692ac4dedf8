// Prunes GitHub's GraphQL schema to the fields that this project asks for. Usage, from this
// directory:
//
//   npm pack @octokit/graphql-schema@15.26.1 && tar xzf octokit-graphql-schema-15.26.1.tgz
//   node prune-graphql.mjs package/schema.json > github-graphql.graphql

import { readFileSync } from "node:fs";

const FIELDS = {
  Query: ["repository"],
  Repository: ["issue"],
  Issue: ["body", "lastEditedAt", "timelineItems", "title"],
  IssueTimelineItemsConnection: ["nodes"],
  RenamedTitleEvent: ["createdAt"],
};

const types = JSON.parse(readFileSync(process.argv[2], "utf8")).__schema.types;
const named = (name) => types.find((type) => type.name === name);
const shown = (type) =>
  type.kind === "NON_NULL" ? `${shown(type.ofType)}!` : type.kind === "LIST" ? `[${shown(type.ofType)}]` : type.name;

const out = [];
for (const [name, fields] of Object.entries(FIELDS)) {
  const lines = fields.map((field) => {
    const found = named(name).fields.find((f) => f.name === field);
    const args = found.args.map((arg) => {
      const value = arg.defaultValue === null ? "" : ` = ${arg.defaultValue}`;
      return `${arg.name}: ${shown(arg.type)}${value}`;
    });
    return `  ${field}${args.length ? `(${args.join(", ")})` : ""}: ${shown(found.type)}`;
  });
  out.push(`type ${name} {\n${lines.join("\n")}\n}`);
}
// Of the things in a timeline only the one that is asked for.
out.push("union IssueTimelineItems = RenamedTitleEvent");
const items = named("IssueTimelineItemsItemType").enumValues.map((value) => value.name);
out.push(`enum IssueTimelineItemsItemType {\n  ${items.join("\n  ")}\n}`);
out.push("scalar DateTime");
console.log(out.join("\n\n"));
