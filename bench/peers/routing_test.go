package peers

import "testing"

func TestCallerWhoGivesUpIsToldSoAndTheFarEndStopsRinging(t *testing.T) {
	need(t, "sipp", "sip-tester")
	g := newGateway(t, somewhere(), "udp", "udp")
	g.open()
	callee := play(t, plan{name: "callee", scenario: "unanswered.xml", transport: "udp", at: g.calleeAt})
	caller := play(t, plan{name: "caller", scenario: "impatient.xml", transport: "udp", at: g.callerAt, to: g.outerAt, audio: g.callerAt})
	caller.Finish()           // it had its 200 to the CANCEL, and the 487
	callee.Finish()           // it had the CANCEL, and the ACK to its 487
	g.ended("uc", "", 487, 1) // it went to nobody
	g.close()
}

func TestNextTrunkTakesTheCallWhenTheFirst(t *testing.T) {
	need(t, "sipp", "sip-tester")
	for _, c := range []struct {
		name      string
		transport string // of the first trunk
		scenario  string // who is there; empty: nobody
	}{
		{"is a closed UDP port", "udp", ""},
		{"refuses the TCP connection", "tcp", ""},
		{"answers 503", "udp", "unavailable.xml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, somewhere(), "udp", "udp")
			spareAt := free(t, g.place.spare)
			g.config["sip"].(object)["listeners"].(object)["dead"] = object{"transport": c.transport, "address": free(t, g.place.spare)}
			g.config["trunks"].(object)["dead"] = object{
				"listener": "dead", "peer": spareAt.String(), "network": "inside", "options": object{"off": true},
				"failover": object{"timeout": "1s"},
			}
			g.config["routes"] = []any{object{"name": "in", "from": []any{"uc"}, "to": []any{"dead", "gw"}}}
			if c.scenario != "" {
				dead := play(t, plan{name: "first", scenario: c.scenario, transport: c.transport, at: spareAt})
				defer dead.Finish()
			}
			call := connect(t, g)
			call.talk(10)
			call.caller.prompt("INFO", call.callerCall, 2, "")
			call.ended("uc", "gw", 200, 1)
			attempts := call.sip()
			all, answered := attempts.sum("tandem_sip_attempts_total"), attempts[`tandem_sip_attempts_total{code="200",trunk="gw"}`]
			if all != 2 || answered != 1 {
				t.Errorf("%v attempts, %v of them answered by the second trunk; want 2 and 1: %v", all, answered, attempts)
			}
			call.over()
		})
	}
}
