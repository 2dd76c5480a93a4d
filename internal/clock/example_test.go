package clock_test

import (
	"fmt"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

func ExampleManual() {
	c := clock.NewManual(0)
	timer := c.NewTimer(time.Minute)
	c.Advance(time.Hour)
	fmt.Println((<-timer.C()).Format(time.TimeOnly), time.Duration(c.Mono()))
	// Output: 00:01:00 1h0m0s
}
