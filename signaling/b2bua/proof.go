package b2bua

import (
	"errors"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/digest"
	"tandem/signaling/trunk"
)

// A challenge is answered once, and once more if the peer says that only the nonce was too old.
const answersMost = 2

// proof is what one request carries to say who we are: to the peer itself (401) and to a proxy before it (407), which may
// both ask.
type proof struct {
	asked [2]int // answers given
	value [2]string
}

// ask is how one of the two asks.
type ask struct {
	code            int
	question, reply string // header names
}

var asks = [2]ask{
	{401, "WWW-Authenticate", "Authorization"},
	{407, "Proxy-Authenticate", "Proxy-Authorization"},
}

// challenged reports a response that asks who we are.
func challenged(res *sip.Response) bool { return res.StatusCode == 401 || res.StatusCode == 407 }

// add puts the answer to a challenge into the request, in place of an earlier one. The error says why there is none.
func (p *proof) add(v *view, tr *trunk.Trunk, req *sip.Request, res *sip.Response) error {
	who := v.selves[tr.Name]
	switch {
	case who == nil:
		return errors.New("it asks for authentication, and the trunk has no auth")
	case who.err != nil:
		return who.err
	}
	i := 0
	if res.StatusCode == asks[1].code {
		i = 1
	}
	challenges := values(res, asks[i].question)
	switch {
	case p.asked[i] > 0 && !digest.NonceExpired(challenges):
		return errors.New("user or password of auth is wrong")
	case p.asked[i] == answersMost:
		return errors.New("it calls every nonce of its own too old")
	}
	answer, err := digest.Respond(challenges, who.Credentials, string(req.Method), req.Recipient.String(), req.Body(), who.count)
	if err != nil {
		return err
	}
	p.asked[i]++
	p.value[i] = answer
	req.RemoveHeader(asks[i].reply)
	req.AppendHeader(sip.NewHeader(asks[i].reply, answer))
	return nil
}

// headers are what the ACK of the request carries.
func (p *proof) headers() (list []sip.Header) {
	for i, a := range asks {
		if p.value[i] != "" {
			list = append(list, sip.NewHeader(a.reply, p.value[i]))
		}
	}
	return list
}

// values are those of every header of a name.
func values(m sip.Message, name string) (list []string) {
	for _, h := range headers(m, name) {
		list = append(list, h.Value())
	}
	return list
}
