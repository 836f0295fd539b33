# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the regions of AWS IoT Core are.

AWS publishes no coordinates. It names the state or country of each zone (ZONES) and calls most regions after their
town; for the others the towns of the data centres are public, or else the capital stands for the country. Coordinates
are the town's in GeoNames (https://www.geonames.org/<number>, CC BY 4.0, as of November 2026). Of the standard library
only: this file is packed into a Lambda function too. Private to the collection.
"""

from __future__ import annotations

from typing import NamedTuple

ZONES = "https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html"
OREGON = "https://www.datacenterknowledge.com/hyperscalers/amazon-looks-to-build-ninth-oregon-data-center"
OHIO = "https://www.aboutamazon.com/news/aws/aws-continues-to-invest-in-ohio"
VIRGINIA = (
    "https://www.datacenterfrontier.com/featured/article/11431479/regional-data-center-clusters-power-amazon8217s-cloud"
)
SWEDEN = "https://www.datacenterdynamics.com/en/news/amazon-web-services-buys-more-land-around-stockholm/"
MONTREAL = "https://www.cbc.ca/news/canada/montreal/amazon-aws-montral-data-center-1.3405616"
ARAGON = (
    "https://aragondigital.es/economia/2023/09/27/"
    "los-tres-centros-de-amazon-web-services-en-aragon-funcionan-ya-al-100-con-energia-renovable/"
)
NINGXIA = "https://wiredre.com/china-data-centers-planned-for-amazon-and-china-mobile/"


class Region(NamedTuple):
    """A region: degrees north and east, its continent's two letters, the town, and who says so."""

    name: str
    latitude: float
    longitude: float
    continent: str
    place: str
    source: str


_ALL = (
    Region("ap-east-1", 22.278, 114.175, "AS", "Hong Kong", f"GeoNames 1819729, {ZONES}"),
    Region("ap-northeast-1", 35.690, 139.692, "AS", "Tokyo", f"GeoNames 1850147, {ZONES}"),
    Region("ap-northeast-2", 37.566, 126.978, "AS", "Seoul", f"GeoNames 1835848, {ZONES}"),
    Region("ap-south-1", 19.073, 72.883, "AS", "Mumbai", f"GeoNames 1275339, {ZONES}"),
    Region("ap-southeast-1", 1.290, 103.850, "AS", "Singapore", f"GeoNames 1880252, {ZONES}"),
    Region("ap-southeast-2", -33.868, 151.207, "OC", "Sydney", f"GeoNames 2147714, {ZONES}"),
    Region("ap-southeast-5", 3.141, 101.687, "AS", "Kuala Lumpur, the capital", f"GeoNames 1735161, {ZONES}"),
    Region("ca-central-1", 45.509, -73.588, "NA", "Montréal", f"GeoNames 6077243, {MONTREAL}"),
    Region("cn-north-1", 39.908, 116.397, "AS", "Beijing", f"GeoNames 1816670, {ZONES}"),
    Region("cn-northwest-1", 37.511, 105.191, "AS", "Zhongwei, Ningxia", f"GeoNames 1784285, {NINGXIA}"),
    Region("eu-central-1", 50.116, 8.684, "EU", "Frankfurt", f"GeoNames 2925533, {ZONES}"),
    Region("eu-north-1", 59.367, 16.508, "EU", "Eskilstuna, west of Stockholm", f"GeoNames 2715953, {SWEDEN}"),
    Region("eu-south-1", 45.464, 9.190, "EU", "Milan", f"GeoNames 3173435, {ZONES}"),
    Region("eu-south-2", 41.656, -0.877, "EU", "Zaragoza, Aragón", f"GeoNames 3104324, {ARAGON}"),
    Region("eu-west-1", 53.333, -6.249, "EU", "Dublin", f"GeoNames 2964574, {ZONES}"),
    Region("eu-west-2", 51.509, -0.126, "EU", "London", f"GeoNames 2643743, {ZONES}"),
    Region("eu-west-3", 48.853, 2.349, "EU", "Paris", f"GeoNames 2988507, {ZONES}"),
    Region("il-central-1", 32.081, 34.781, "AS", "Tel Aviv", f"GeoNames 293397, {ZONES}"),
    Region("me-central-1", 24.451, 54.397, "AS", "Abu Dhabi, the capital", f"GeoNames 292968, {ZONES}"),
    Region("me-south-1", 26.228, 50.586, "AS", "Manama, Bahrain", f"GeoNames 290340, {ZONES}"),
    Region("sa-east-1", -23.548, -46.636, "SA", "São Paulo", f"GeoNames 3448439, {ZONES}"),
    Region("us-east-1", 39.044, -77.487, "NA", "Ashburn, Virginia", f"GeoNames 4744870, {VIRGINIA}"),
    Region("us-east-2", 39.961, -82.999, "NA", "Columbus, Ohio", f"GeoNames 4509177, {OHIO}"),
    Region("us-gov-east-1", 39.961, -82.999, "NA", "Columbus, Ohio", f"GeoNames 4509177, {ZONES}"),
    Region("us-gov-west-1", 45.840, -119.701, "NA", "Boardman, Oregon", f"GeoNames 5714964, {ZONES}"),
    Region("us-west-1", 37.339, -121.895, "NA", "San Jose, California", f"GeoNames 5392171, {ZONES}"),
    Region("us-west-2", 45.840, -119.701, "NA", "Boardman, Oregon", f"GeoNames 5714964, {OREGON}"),
)

REGIONS: dict[str, Region] = {region.name: region for region in _ALL}

__all__ = ["REGIONS", "Region"]
