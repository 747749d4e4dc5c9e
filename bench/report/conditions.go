package report

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"time"
)

// Conditions say where and how numbers came to be. Who compares two runs compares these first.
type Conditions struct {
	Date           string   `json:"date"` // RFC 3339
	Command        string   `json:"command"`
	CPU            string   `json:"cpu"`
	CPUs           int      `json:"cpus"`
	Virtual        bool     `json:"virtual"` // a hypervisor runs this machine
	Kernel         string   `json:"kernel"`
	Go             string   `json:"go"`
	Tandem         string   `json:"tandem"`          // version of the relay
	Rival          string   `json:"rival,omitempty"` // version of the rival
	RivalArguments []string `json:"rival_arguments,omitempty"`
	RelayCPU       int      `json:"relay_cpu"`
	LoadCPU        int      `json:"load_cpu"`
	Tuning         string   `json:"tuning,omitempty"` // what the rig told the kernel about the CPUs, beyond who runs where
	LoadAverage    string   `json:"load_average"`     // of the machine when the run began: 1, 5, 15 minutes
}

// Here returns the conditions of this machine.
func Here(command []string) Conditions {
	c := Conditions{
		Date: time.Now().UTC().Format(time.RFC3339), Command: strings.Join(command, " "), CPUs: runtime.NumCPU(), Go: runtime.Version(),
	}
	// What /proc does not tell stays empty: no measurement depends on it.
	info, _ := os.ReadFile("/proc/cpuinfo")
	c.CPU, c.Virtual = processor(info)
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	c.Kernel = string(bytes.TrimSpace(release))
	average, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(average)); len(f) >= 3 {
		c.LoadAverage = strings.Join(f[:3], " ")
	}
	return c
}

// processor reads the model's name, and whether a hypervisor is under it, from /proc/cpuinfo.
func processor(info []byte) (model string, virtual bool) {
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			model = strings.TrimSpace(value)
		case "flags":
			for _, flag := range strings.Fields(value) {
				virtual = virtual || flag == "hypervisor"
			}
			return model, virtual
		}
	}
	return model, virtual
}
