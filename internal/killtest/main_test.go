package killtest

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// childVariable makes the test binary a child that publishes until it is killed; it holds a childSpec.
const childVariable = "LEAT_KILLTEST_CHILD"

func TestMain(m *testing.M) {
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var spec childSpec
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil {
		err = runChild(spec)
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(3)
}
