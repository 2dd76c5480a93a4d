package plot

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/leatbus/leat/internal/benchkit"
)

const curveHeight = vg.Length(360)

// dashes tell lines of one colour apart.
var dashes = [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 3, 2, 3}}

// nines are the ticks of the axis of percentiles.
var nines = []plot.Tick{
	{Value: 1, Label: "0"}, {Value: 2, Label: "p50"}, {Value: 10, Label: "p90"}, {Value: 100, Label: "p99"},
	{Value: 1e3, Label: "p99.9"}, {Value: 1e4, Label: "p99.99"}, {Value: 1e5, Label: "p99.999"},
	{Value: 1e6, Label: "p99.9999"}, {Value: 1e7, Label: "p99.99999"},
}

// curves draws the latencies of the cases that have them, or nil.
func curves(r *benchkit.Report, rows []*benchkit.Row) *picture {
	p := newPicture(r, rows, "percentiles")
	used := make(map[benchkit.Role]int)
	highest := 0.0
	p.plot.X.Max = 1
	for _, row := range rows {
		points := pointsOf(row.Curve)
		if len(points) < 2 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			// Infinite or no number: not from a histogram.
			continue
		}
		line.Color, line.Width = shade(colourOf(row.Role), used[row.Role]), 2
		line.Dashes = dashes[used[row.Role]%len(dashes)]
		used[row.Role]++
		p.plot.Add(line)
		p.plot.Legend.Add(row.Name, line)
		_, _, _, top := plotter.XYRange(points)
		highest = max(highest, top)
	}
	if len(used) == 0 {
		return nil
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColour, gridColour
	p.plot.Add(grid)
	p.plot.X.Label.Text = "percentile, on 1 ÷ (1 − p)"
	p.plot.Y.Label.Text = "latency"
	p.plot.X.Scale, p.plot.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.plot.X.Min = 1
	p.plot.X.Tick.Marker = plot.ConstantTicks(within(nines, p.plot.X.Max))
	p.plot.Y.Min, p.plot.Y.Max = math.Pow(10, math.Floor(math.Log10(p.plot.Y.Min))), highest*1.5
	p.plot.Y.Tick.Marker = plot.ConstantTicks(decades(p.plot.Y.Min, p.plot.Y.Max))
	p.plot.Legend.Top, p.plot.Legend.Left = true, true
	p.plot.Legend.TextStyle.Font.Size = 9
	p.height = curveHeight
	return p
}

// pointsOf leaves out the maximum, which is at no percentile, and what is too short for a logarithm.
func pointsOf(curve []benchkit.Quantile) (points plotter.XYs) {
	for _, q := range curve {
		if q.P < 1 && q.Micros > 0 {
			points = append(points, plotter.XY{X: 1 / (1 - q.P), Y: q.Micros})
		}
	}
	return points
}

func within(ticks []plot.Tick, limit float64) (kept []plot.Tick) {
	for _, tick := range ticks {
		if tick.Value <= limit*1.01 {
			kept = append(kept, tick)
		}
	}
	return kept
}

// decades are the ticks of an axis of microseconds from lo to hi.
func decades(lo, hi float64) (ticks []plot.Tick) {
	for value := lo; value <= hi; value *= 10 {
		label := scaleMicros(value * 1.01).text(value)
		ticks = append(ticks, plot.Tick{Value: value, Label: label})
		for i := 2.0; i < 10 && value*i <= hi; i++ {
			ticks = append(ticks, plot.Tick{Value: value * i})
		}
	}
	return ticks
}

// shade makes the lines of one role differ.
func shade(c color.Color, n int) color.Color {
	r, g, b, _ := c.RGBA()
	part := func(v uint32) uint8 { return uint8(min(255, (v>>8)+uint32(n)*45)) }
	return color.RGBA{R: part(r), G: part(g), B: part(b), A: 0xff}
}
