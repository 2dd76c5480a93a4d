package benchkit

// Pressure is what the machine did besides, from the start of a run to its end. What the system does not
// tell stays zero.
type Pressure struct {
	StealShare  float64 `json:"steal_share"`       // of all processor time, taken by the host
	CPUSeconds  float64 `json:"cpu_some_s"`        // some task waited for a processor (PSI)
	IOSeconds   float64 `json:"io_some_s"`         // … for a disk
	MemSeconds  float64 `json:"memory_some_s"`     // … for memory
	Voluntary   int64   `json:"own_ctx_voluntary"` // context switches of this process
	Involuntary int64   `json:"own_ctx_involuntary"`
	Switches    int64   `json:"ctx_all"` // of the machine

	use machineUse
}

func (p *Pressure) minus(before *Pressure) *Pressure {
	used := p.use.minus(before.use)
	d := &Pressure{
		CPUSeconds:  p.CPUSeconds - before.CPUSeconds,
		IOSeconds:   p.IOSeconds - before.IOSeconds,
		MemSeconds:  p.MemSeconds - before.MemSeconds,
		Voluntary:   p.Voluntary - before.Voluntary,
		Involuntary: p.Involuntary - before.Involuntary,
		Switches:    p.Switches - before.Switches,
	}
	if used.total > 0 {
		d.StealShare = float64(used.steal) / float64(used.total)
	}
	return d
}
