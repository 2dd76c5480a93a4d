package leattest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/leattest"
)

// A test opens the bus that its code needs, and closes nothing.
func ExampleNew() {
	t, end := aTest() // in a test of yours, t is what it was given
	defer end()

	bus := leattest.New(t, leattest.WithTopic("greetings", leat.TopicConfig{}))
	greetings := leat.TopicOf[string](bus, "greetings")
	receipt, err := greetings.Publish(t.Context(), "world", "hello")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(receipt.Topic, receipt.Offset)
	// Output: greetings 0
}

// exampleTest is what an example has instead of a test.
type exampleTest struct {
	testing.TB
	cleanups []func()
}

func aTest() (t testing.TB, end func()) {
	e := &exampleTest{}
	return e, func() {
		for _, cleanup := range e.cleanups {
			cleanup()
		}
	}
}

func (e *exampleTest) Helper()                           {}
func (e *exampleTest) Context() context.Context          { return context.Background() }
func (e *exampleTest) Cleanup(f func())                  { e.cleanups = append(e.cleanups, f) }
func (e *exampleTest) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (e *exampleTest) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (e *exampleTest) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
