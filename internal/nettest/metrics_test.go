package nettest

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
)

// metric reads one figure from the server's /metrics; 0 if it is not there.
func (s *server) metric(series string) float64 {
	s.t.Helper()
	answer, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		s.t.Fatalf("metrics: %v", err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				s.t.Fatalf("%s: %v", lines.Text(), err)
			}
			return value
		}
	}
	return 0
}
