package campaign_test

import (
	"github.com/raytap/raytap/detectors/campaign"
	"github.com/raytap/raytap/registry"
)

func init() { campaign.Rules = registry.Rules() }
