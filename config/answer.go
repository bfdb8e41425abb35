package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Answer bounds what a sensor that publishes answers to hubs: rows of its logs, packets that it recorded.
type Answer struct {
	Time       time.Duration `yaml:"time"`       // for one answer
	Rows       uint64        `yaml:"rows"`       // of one answer
	Bytes      uint64        `yaml:"bytes"`      // of one answer, rows or packets
	Concurrent int           `yaml:"concurrent"` // answers at once; 0: none are given
	CPU        int           `yaml:"cpu"`        // percent of one processor that an answer takes
}

func defaultAnswer() Answer {
	return Answer{Time: 30 * time.Second, Rows: 100000, Bytes: 256e6, Concurrent: 2, CPU: 50}
}

// checkAccept refuses what is no section that a hub may set.
func checkAccept(section string) error {
	if !slices.Contains(OverlaySections(), section) {
		return fmt.Errorf("%q is none of %s", section, strings.Join(OverlaySections(), ", "))
	}
	return nil
}
