// Prunes GitHub's OpenAPI description to the operations that this project uses, and rewrites it
// so that JSON-Schema validators take it. Usage, from this directory:
//
//   npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
//   node prune-openapi.mjs package/generated/api.github.com.json > github-openapi.json

import { readFileSync } from "node:fs";

const OPERATIONS = `
  GET /
  GET /meta
  GET /rate_limit
  GET /user
  GET /user/repos
  GET /users/{username}
  GET /users/{username}/repos
  GET /orgs/{org}/repos
  GET /issues
  GET /repos/{owner}/{repo}
  GET /repos/{owner}/{repo}/collaborators/{username}/permission
  GET POST /repos/{owner}/{repo}/issues
  GET PATCH /repos/{owner}/{repo}/issues/{issue_number}
  GET POST /repos/{owner}/{repo}/issues/{issue_number}/comments
  GET PATCH DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}
  GET /repos/{owner}/{repo}/issues/{issue_number}/events
  GET POST /repos/{owner}/{repo}/issues/{issue_number}/labels
  DELETE /repos/{owner}/{repo}/issues/{issue_number}/labels/{name}
  GET POST /repos/{owner}/{repo}/labels
  GET PATCH DELETE /repos/{owner}/{repo}/labels/{name}
  GET POST /repos/{owner}/{repo}/pulls
  GET PATCH /repos/{owner}/{repo}/pulls/{pull_number}
  GET /repos/{owner}/{repo}/git/ref/{ref}
  GET /repos/{owner}/{repo}/git/matching-refs/{ref}
  POST /repos/{owner}/{repo}/git/refs
  PATCH DELETE /repos/{owner}/{repo}/git/refs/{ref}
`.trim().split("\n").flatMap((line) => {
  const words = line.trim().split(" ");
  const path = words.pop();
  return words.map((method) => [path, method.toLowerCase()]);
});

const source = JSON.parse(readFileSync(process.argv[2], "utf8"));
const lookUp = (ref) => ref.slice(2).split("/").reduce((at, key) => at[key], source);

// Words for people, and OpenAPI's own extensions.
const DROPPED = new Set(["description", "summary", "example", "examples", "externalDocs", "tags",
  "title", "deprecated", "discriminator", "servers", "headers", "x-multi-segment"]);

/** A JSON Schema (2020-12) of an OpenAPI 3.0 schema. `$ref`s stay and are collected in `refs`. */
function schema(node, refs) {
  if (Array.isArray(node)) return node.map((item) => schema(item, refs));
  if (node === null || typeof node !== "object") return node;
  if (node.$ref) {
    refs.add(node.$ref);
    return { $ref: node.$ref };
  }
  let out = {};
  for (const [key, value] of Object.entries(node)) {
    if (DROPPED.has(key) || key.startsWith("x-") || key === "nullable") continue;
    if (key === "properties") {
      // Below `properties` the keys are names, so that none of them may be dropped.
      out[key] = Object.fromEntries(
        Object.entries(value).map(([name, property]) => [name, schema(property, refs)]));
    } else if (["required", "enum", "default", "const"].includes(key)) {
      out[key] = value;
    } else {
      out[key] = schema(value, refs);
    }
  }
  delete out.default;
  for (const bound of ["Minimum", "Maximum"]) {
    if (typeof out[`exclusive${bound}`] === "boolean") {
      throw new Error(`exclusive${bound} is a boolean: rewrite it`);
    }
  }
  if (node.nullable) out = { anyOf: [out, { type: "null" }] };
  return out;
}

const refs = new Set();
const paths = {};
for (const [path, method] of OPERATIONS) {
  const operation = source.paths[path]?.[method];
  if (!operation) throw new Error(`no ${method} ${path}`);
  const follow = (node) => (node.$ref ? lookUp(node.$ref) : node);
  const body = operation.requestBody && follow(operation.requestBody);
  const json = (message) => message.content?.["application/json"]?.schema;
  const responses = {};
  for (const [status, response] of Object.entries(operation.responses)) {
    const found = json(follow(response));
    responses[status] = found ? schema(found, refs) : null;
  }
  (paths[path] ??= {})[method] = {
    query: Object.fromEntries((operation.parameters ?? []).map(follow)
      .filter((parameter) => parameter.in === "query")
      .map((parameter) => [parameter.name, schema(parameter.schema, refs)])),
    requestRequired: body?.required ?? false,
    request: body ? schema(json(body), refs) : null,
    responses,
  };
}

// Errors that GitHub answers everywhere, documented for an operation or not.
refs.add("#/components/schemas/basic-error");
refs.add("#/components/schemas/validation-error");

const schemas = {};
for (const ref of refs) {
  // A Set's iteration takes in what is added on the way, so this ends when nothing new is found.
  const prefix = "#/components/schemas/";
  if (!ref.startsWith(prefix)) throw new Error(`unexpected reference ${ref}`);
  schemas[ref.slice(prefix.length)] = schema(lookUp(ref), refs);
}

process.stdout.write(JSON.stringify({
  source: "npm @octokit/openapi 23.0.2, generated/api.github.com.json (MIT licence), pruned by prune-openapi.mjs",
  paths,
  components: { schemas },
}, null, 1) + "\n");
