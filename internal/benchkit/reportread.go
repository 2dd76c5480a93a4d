package benchkit

import (
	"encoding/json"
	"fmt"
	"os"
)

// ReadReport reads what WriteJSON wrote to a file. It refuses another version of the schema.
func ReadReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("benchkit: read a report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("benchkit: %s is no report: %w", path, err)
	}
	if r.Schema != SchemaVersion {
		return nil, fmt.Errorf("benchkit: %s has version %d of the schema, want %d: measure again",
			path, r.Schema, SchemaVersion)
	}
	return &r, nil
}
