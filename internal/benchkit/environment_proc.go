package benchkit

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Processor is what the system says about the processors. Everything is read from /proc and /sys, so it is
// empty on other systems than Linux.
type Processor struct {
	Caches      string `json:"caches"` // of the first processor
	Siblings    string `json:"siblings"`
	Virtual     bool   `json:"virtual"` // a hypervisor is below
	Governor    string `json:"governor"`
	Boost       string `json:"boost"`
	ClockSource string `json:"clock_source"`
	Mitigations string `json:"mitigations"` // how many weaknesses are mitigated, left open, absent
}

// System is how the kernel is set up.
type System struct {
	Boot       string `json:"boot"`       // parameters of the kernel that change timing
	HugePages  string `json:"huge_pages"` // transparent ones
	Memory     string `json:"memory"`
	TimerSlack string `json:"timer_slack_ns"`
	CPUQuota   string `json:"cpu_quota"` // of the control group
	Mount      string `json:"mount"`     // device and options of the folder that held the data
	Disk       string `json:"disk"`      // scheduler and write cache of that device
	Settings   string `json:"settings"`  // sysctls
}

// firstLine reads the first line of a file, "" if there is none.
func firstLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// cpuModel reads what Linux says; elsewhere the architecture has to do.
func cpuModel() string {
	if model := cpuInfo("model name"); model != "" {
		return model
	}
	return runtime.GOARCH
}

// cpuInfo reads the first value of a name in /proc/cpuinfo.
func cpuInfo(name string) string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func captureProcessor() Processor {
	const cpu = "/sys/devices/system/cpu/"
	p := Processor{
		Siblings:    firstLine(cpu + "cpu0/topology/thread_siblings_list"),
		Virtual:     slices.Contains(strings.Fields(cpuInfo("flags")), "hypervisor"),
		Governor:    firstLine(cpu + "cpu0/cpufreq/scaling_governor"),
		Boost:       firstLine(cpu + "cpufreq/boost"),
		ClockSource: firstLine("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Mitigations: mitigations(cpu + "vulnerabilities"),
	}
	var caches []string
	for i := 0; ; i++ {
		index := fmt.Sprintf("%scpu0/cache/index%d/", cpu, i)
		level := firstLine(index + "level")
		if level == "" {
			break
		}
		kind := map[string]string{"Data": "d", "Instruction": "i"}[firstLine(index+"type")]
		caches = append(caches, "L"+level+kind+" "+firstLine(index+"size"))
	}
	p.Caches = strings.Join(caches, ", ")
	return p
}

// mitigations counts what the kernel says about the weaknesses it knows.
func mitigations(dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		return ""
	}
	mitigated, open, absent := 0, 0, 0
	for _, file := range files {
		switch text := firstLine(file); {
		case strings.HasPrefix(text, "Not affected"):
			absent++
		case strings.HasPrefix(text, "Vulnerable"):
			open++
		default:
			mitigated++
		}
	}
	return fmt.Sprintf("%d mitigated, %d open, %d not affected", mitigated, open, absent)
}

// bootParameters are those of the kernel that change timing.
var bootParameters = []string{
	"mitigations", "isolcpus", "nohz_full", "nohz", "rcu_nocbs", "idle", "intel_pstate", "amd_pstate",
	"intel_idle.max_cstate", "processor.max_cstate", "transparent_hugepage", "tsc", "clocksource", "preempt",
	"nosmt", "psi",
}

// settings are sysctls that change timing or sizes.
var settings = []string{
	"kernel/sched_autogroup_enabled", "kernel/perf_event_paranoid", "kernel/numa_balancing", "vm/swappiness",
	"vm/max_map_count", "vm/dirty_ratio", "vm/dirty_background_ratio", "net/core/rmem_max", "net/core/wmem_max",
}

func captureSystem(dir string) System {
	s := System{
		HugePages:  chosen(firstLine("/sys/kernel/mm/transparent_hugepage/enabled")),
		Memory:     strings.Join(strings.Fields(strings.TrimPrefix(firstLine("/proc/meminfo"), "MemTotal:")), " "),
		TimerSlack: firstLine("/proc/self/timerslack_ns"),
		CPUQuota:   cpuQuota(),
	}
	var boot, values []string
	for word := range strings.FieldsSeq(firstLine("/proc/cmdline")) {
		if name, _, _ := strings.Cut(word, "="); slices.Contains(bootParameters, name) {
			boot = append(boot, word)
		}
	}
	for _, name := range settings {
		if value := firstLine("/proc/sys/" + name); value != "" {
			values = append(values, strings.ReplaceAll(name, "/", ".")+"="+value)
		}
	}
	s.Boot, s.Settings = strings.Join(boot, " "), strings.Join(values, " ")
	s.Mount, s.Disk = mountOf(dir)
	return s
}

// chosen is the word in brackets of a choice such as "always [madvise] never".
func chosen(choice string) string {
	_, rest, _ := strings.Cut(choice, "[")
	word, _, found := strings.Cut(rest, "]")
	if !found {
		return choice
	}
	return word
}

// cpuQuota reads the limit of this process's control group, of version 2 or 1.
func cpuQuota() string {
	for line := range strings.Lines(contents("/proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, path := range []string{
			filepath.Join("/sys/fs/cgroup", parts[2], "cpu.max"),
			filepath.Join("/sys/fs/cgroup/cpu", parts[2], "cpu.cfs_quota_us"),
		} {
			if quota := firstLine(path); quota != "" {
				return quota
			}
		}
	}
	return ""
}

func contents(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

// mountOf finds the mount that holds dir and its disk. source: proc_pid_mountinfo(5): id parent
// major:minor root mount-point options … - type source super-options.
func mountOf(dir string) (mount, disk string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", ""
	}
	best, device := "", ""
	for line := range strings.Lines(contents("/proc/self/mountinfo")) {
		before, after, ok := strings.Cut(line, " - ")
		fields, last := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(last) < 2 || !holds(fields[4], dir) || len(fields[4]) < len(best) {
			continue
		}
		best, device = fields[4], fields[2]
		mount = last[1] + " " + fields[5]
	}
	block := "/sys/dev/block/" + device
	scheduler := chosen(firstLine(block + "/queue/scheduler"))
	if scheduler == "" {
		// A partition has its queue one level up.
		block += "/.."
		scheduler = chosen(firstLine(block + "/queue/scheduler"))
	}
	if scheduler != "" {
		disk = fmt.Sprintf("scheduler %s, %s", scheduler, firstLine(block+"/queue/write_cache"))
	}
	return mount, disk
}

// holds reports whether dir is mount or below it.
func holds(mount, dir string) bool {
	return mount == "/" || dir == mount || strings.HasPrefix(dir, mount+"/")
}
