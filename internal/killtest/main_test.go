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
	var err error
	if text := os.Getenv(pointVariable); text != "" {
		if err = runPointChild(text); err == nil {
			os.Exit(0)
		}
	} else if text := os.Getenv(childVariable); text != "" {
		var spec childSpec
		if err = json.Unmarshal([]byte(text), &spec); err == nil {
			err = runChild(spec)
		}
	} else {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	os.Exit(3)
}
