// Package admindoc has the documents of operators: what the command prints with -o json and the HTTP door
// answers below /api/v1.
//
//	leat.TopicInfo, GroupInfo, … ──TopicOf, GroupOf, …──▶ a document ──encoding/json, YAML, OpenAPI
//
// Invariants: one thing has one form, whoever tells it. Keys are stable: fields are added, and never change
// their meaning. What is not known is absent, but for the offsets of a
// partition with an error. Times are RFC 3339 in UTC. Nothing here asks a bus or a clock.
package admindoc
