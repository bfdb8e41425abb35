package stratum

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "stratum",
		When: "When a connection between a miner and a pool ends; of mining over HTTP with each request.",
		Row:  &Session{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the first line."}}, capture.FlowColumns(), []capture.Column{
			{Name: "dialect", Doc: "Protocol that is spoken: `bitcoin` is Stratum v1, `cryptonote` that of XMRig."},
			{Name: "transport", Doc: "What carries it: a stream, or requests of HTTP for the older protocols.", Values: []string{"tcp", "http"}},
			{Name: "client", Doc: "Which side is the miner: originator or responder.", Values: []string{"orig", "resp"}},
			{Name: "agent", Doc: "Software of the miner, as it says."},
			{Name: "login", Doc: "What it logs in with, as sent: most of the time a wallet."},
			{Name: "worker", Doc: "Name of the machine among those of one login."},
			{Name: "password", Doc: "`****` if there was one."},
			{Name: "coin", Doc: "Currency that the wallet's form stands for."},
			{Name: "wallet", Doc: "Wallet in the login: who gets the money."},
			{Name: "wallet_checked", Doc: "The wallet's own checksum is right: it is one, and not a word that looks so."},
			{Name: "algo", Doc: "Algorithms that were named."},
			{Name: "pool", Doc: "Pool as the miner addresses it, host and port, in protocols that say it."},
			{Name: "outcome", Doc: "How far the miner got: `tried` no answer was seen; `refused` the pool said no; `working` it got work; `accepted` a share was accepted.",
				Values: []string{string(Tried), string(Refused), string(Working), string(Accepted)}},
			{Name: "jobs", Unit: "jobs", Doc: "Pieces of work that the pool sent."},
			{Name: "submits", Unit: "shares", Doc: "Shares (results) that the miner sent."},
			{Name: "accepted", Unit: "shares", Doc: "Those that the pool accepted; an estimate if only the pool's side was seen."},
			{Name: "rejected", Unit: "shares", Doc: "Those that it rejected."},
			{Name: "difficulty", Doc: "Difficulty that the pool set last, in the units of the protocol."},
			{Name: "target", Doc: "The same as a target, as sent last, in hexadecimal."},
			{Name: "height", Unit: "blocks", Doc: "Height of the block chain that was named last."},
			{Name: "reason", Doc: "The pool's last error, in its words."},
			{Name: "duration", Doc: "From the first line to the last."},
			{Name: "first_packet", Doc: "Number of the packet with the first line, from 1."},
			{Name: "mid", Doc: "It began before the capture did."},
			{Name: "community_id", Doc: "Community ID of the connection."},
		}),
	}}
}
