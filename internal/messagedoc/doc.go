// Package messagedoc is the JSON form of a message: what the command prints and the HTTP door answers.
//
//	leat.Message ──Of──▶ Message ──encoding/json, YAML, OpenAPI
//	     └───────Append──▶ the same JSON, without a copy in between
//
// Invariant: Append writes what encoding/json makes of Of, but for how characters are escaped. Keys are
// stable: fields are added, and never change their meaning.
package messagedoc
