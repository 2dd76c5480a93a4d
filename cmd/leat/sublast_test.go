package main

import (
	"strings"
	"testing"
)

func TestSubLastPerKey(t *testing.T) {
	d := newDesk(t, "prices", "empty")
	for _, line := range []string{"1 -k a", "2 -k b", "3 -k a", "4"} {
		d.must("pub prices " + line)
	}
	d.golden(`
$ leat sub prices --last-per-key --count 2 -f '%o %k %v\n'
1 b 2
2 a 3
$ leat sub prices --last-per-key --count 1 -o json
{"topic":"prices","partition":0,"offset":1,"time":"<time>","key":"b","value":"2","snapshot":true}
$ leat sub empty --last-per-key --idle 3s
end of the snapshot
`)
	for _, other := range []string{"--group g", "--from earliest", "--partition 0", "--where true"} {
		line := "sub prices --last-per-key " + other
		if got := d.run(line); got.code != exitUsage || !strings.Contains(got.stderr, "--last-per-key") {
			t.Errorf("leat %s = %+v; want exit code 2 and why", line, got)
		}
	}
}
