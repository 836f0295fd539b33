# SPDX-License-Identifier: GPL-3.0-or-later
"""Which region cities of the world get when all commercial regions of AWS IoT Core are offered.

The regions were written down by hand, from maps. Left out are cities about as far from two regions, such as Toronto,
Brussels and Athens.
"""

from __future__ import annotations

import botocore.session
import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._geography.choosing import Location, Rules, choose
from ansible_collections.iotops.fleet.plugins.module_utils._geography.countries import COUNTRIES

COMMERCIAL = tuple(botocore.session.get_session().get_available_regions("iot", "aws"))
RULES = Rules(regions=COMMERCIAL, default_region="eu-west-1")

CITIES = """
# east of the United States, and the islands before it
Ashburn, US, 39.04, -77.49, us-east-1
Washington, US, 38.90, -77.04, us-east-1
Baltimore, US, 39.29, -76.61, us-east-1
Philadelphia, US, 39.95, -75.17, us-east-1
New York, US, 40.71, -74.01, us-east-1
Richmond, US, 37.54, -77.44, us-east-1
Norfolk, US, 36.85, -76.29, us-east-1
Raleigh, US, 35.78, -78.64, us-east-1
Miami, US, 25.76, -80.19, us-east-1
Hamilton, BM, 32.29, -64.78, us-east-1
Nassau, BS, 25.04, -77.35, us-east-1
Kingston, JM, 17.97, -76.79, us-east-1
Santo Domingo, DO, 18.49, -69.93, us-east-1
San Juan, PR, 18.47, -66.11, us-east-1
Bridgetown, BB, 13.10, -59.62, us-east-1
Caracas, VE, 10.48, -66.90, us-east-1
# between the Appalachians and the Rocky Mountains
Columbus, US, 39.96, -83.00, us-east-2
Cleveland, US, 41.50, -81.69, us-east-2
Cincinnati, US, 39.10, -84.51, us-east-2
Detroit, US, 42.33, -83.05, us-east-2
Indianapolis, US, 39.77, -86.16, us-east-2
Chicago, US, 41.88, -87.63, us-east-2
Nashville, US, 36.16, -86.78, us-east-2
St. Louis, US, 38.63, -90.20, us-east-2
Atlanta, US, 33.75, -84.39, us-east-2
New Orleans, US, 29.95, -90.07, us-east-2
Minneapolis, US, 44.98, -93.27, us-east-2
Dallas, US, 32.78, -96.80, us-east-2
Houston, US, 29.76, -95.37, us-east-2
# the west
Seattle, US, 47.61, -122.33, us-west-2
Portland, US, 45.52, -122.68, us-west-2
Spokane, US, 47.66, -117.43, us-west-2
Boise, US, 43.62, -116.20, us-west-2
Anchorage, US, 61.22, -149.90, us-west-2
Vancouver, CA, 49.28, -123.12, us-west-2
Calgary, CA, 51.05, -114.07, us-west-2
San Francisco, US, 37.77, -122.42, us-west-1
Sacramento, US, 38.58, -121.49, us-west-1
Los Angeles, US, 34.05, -118.24, us-west-1
San Diego, US, 32.72, -117.16, us-west-1
Las Vegas, US, 36.17, -115.14, us-west-1
Phoenix, US, 33.45, -112.07, us-west-1
Tijuana, MX, 32.53, -117.02, us-west-1
Honolulu, US, 21.31, -157.86, us-west-1
# Montréal is 400 km from Boston, and Ashburn 650 km
Montréal, CA, 45.51, -73.59, ca-central-1
Québec, CA, 46.81, -71.21, ca-central-1
Ottawa, CA, 45.42, -75.70, ca-central-1
Halifax, CA, 44.65, -63.58, ca-central-1
St. John's, CA, 47.56, -52.71, ca-central-1
Burlington, US, 44.48, -73.21, ca-central-1
Boston, US, 42.36, -71.06, ca-central-1
# South America, and across the ocean from it
São Paulo, BR, -23.55, -46.63, sa-east-1
Rio de Janeiro, BR, -22.91, -43.17, sa-east-1
Brasília, BR, -15.79, -47.88, sa-east-1
Recife, BR, -8.05, -34.88, sa-east-1
Manaus, BR, -3.12, -60.02, sa-east-1
Porto Alegre, BR, -30.03, -51.22, sa-east-1
Montevideo, UY, -34.90, -56.16, sa-east-1
Buenos Aires, AR, -34.60, -58.38, sa-east-1
Asunción, PY, -25.26, -57.58, sa-east-1
La Paz, BO, -16.50, -68.15, sa-east-1
Lima, PE, -12.05, -77.04, sa-east-1
Santiago, CL, -33.45, -70.67, sa-east-1
Ushuaia, AR, -54.80, -68.30, sa-east-1
Cape Town, ZA, -33.92, 18.42, sa-east-1
Rothera, AQ, -67.57, -68.13, sa-east-1
# the British Isles and Iceland
Dublin, IE, 53.35, -6.26, eu-west-1
Cork, IE, 51.90, -8.48, eu-west-1
Belfast, GB, 54.60, -5.93, eu-west-1
Glasgow, GB, 55.86, -4.25, eu-west-1
Reykjavík, IS, 64.15, -21.94, eu-west-1
London, GB, 51.51, -0.13, eu-west-2
Cambridge, GB, 52.21, 0.12, eu-west-2
Birmingham, GB, 52.49, -1.89, eu-west-2
Brighton, GB, 50.82, -0.14, eu-west-2
# France
Paris, FR, 48.86, 2.35, eu-west-3
Rouen, FR, 49.44, 1.10, eu-west-3
Orléans, FR, 47.90, 1.90, eu-west-3
Rennes, FR, 48.11, -1.68, eu-west-3
Nantes, FR, 47.22, -1.55, eu-west-3
# central Europe
Frankfurt, DE, 50.11, 8.68, eu-central-1
Cologne, DE, 50.94, 6.96, eu-central-1
Stuttgart, DE, 48.78, 9.18, eu-central-1
Nuremberg, DE, 49.45, 11.08, eu-central-1
Hamburg, DE, 53.55, 9.99, eu-central-1
Berlin, DE, 52.52, 13.40, eu-central-1
Luxembourg, LU, 49.61, 6.13, eu-central-1
Prague, CZ, 50.08, 14.44, eu-central-1
Kraków, PL, 50.06, 19.94, eu-central-1
# the north and the Baltic
Stockholm, SE, 59.33, 18.07, eu-north-1
Gothenburg, SE, 57.71, 11.97, eu-north-1
Copenhagen, DK, 55.68, 12.57, eu-north-1
Oslo, NO, 59.91, 10.75, eu-north-1
Helsinki, FI, 60.17, 24.94, eu-north-1
Tallinn, EE, 59.44, 24.75, eu-north-1
Riga, LV, 56.95, 24.11, eu-north-1
Vilnius, LT, 54.69, 25.28, eu-north-1
Saint Petersburg, RU, 59.94, 30.31, eu-north-1
Moscow, RU, 55.76, 37.62, eu-north-1
Longyearbyen, SJ, 78.22, 15.65, eu-north-1
# Italy and the Adriatic
Milan, IT, 45.46, 9.19, eu-south-1
Turin, IT, 45.07, 7.69, eu-south-1
Venice, IT, 45.44, 12.33, eu-south-1
Rome, IT, 41.90, 12.50, eu-south-1
Naples, IT, 40.85, 14.27, eu-south-1
Palermo, IT, 38.12, 13.36, eu-south-1
Nice, FR, 43.70, 7.27, eu-south-1
Zagreb, HR, 45.81, 15.98, eu-south-1
Sarajevo, BA, 43.86, 18.41, eu-south-1
Valletta, MT, 35.90, 14.51, eu-south-1
Tripoli, LY, 32.89, 13.19, eu-south-1
# the Iberian Peninsula and Africa's west
Zaragoza, ES, 41.65, -0.88, eu-south-2
Madrid, ES, 40.42, -3.70, eu-south-2
Barcelona, ES, 41.39, 2.17, eu-south-2
Bilbao, ES, 43.26, -2.93, eu-south-2
Seville, ES, 37.39, -5.99, eu-south-2
Lisbon, PT, 38.72, -9.14, eu-south-2
Las Palmas, ES, 28.12, -15.43, eu-south-2
Algiers, DZ, 36.75, 3.06, eu-south-2
Casablanca, MA, 33.57, -7.59, eu-south-2
Dakar, SN, 14.69, -17.45, eu-south-2
Bamako, ML, 12.64, -8.00, eu-south-2
Abidjan, CI, 5.36, -4.01, eu-south-2
Accra, GH, 5.60, -0.19, eu-south-2
Lagos, NG, 6.52, 3.38, eu-south-2
# the eastern Mediterranean and the Nile
Tel Aviv, IL, 32.08, 34.78, il-central-1
Amman, JO, 31.95, 35.93, il-central-1
Beirut, LB, 33.89, 35.50, il-central-1
Nicosia, CY, 35.17, 33.36, il-central-1
Ankara, TR, 39.93, 32.86, il-central-1
Alexandria, EG, 31.20, 29.92, il-central-1
Cairo, EG, 30.04, 31.24, il-central-1
Khartoum, SD, 15.50, 32.56, il-central-1
# the Persian Gulf
Manama, BH, 26.23, 50.58, me-south-1
Dammam, SA, 26.43, 50.10, me-south-1
Riyadh, SA, 24.71, 46.68, me-south-1
Doha, QA, 25.29, 51.53, me-south-1
Kuwait City, KW, 29.38, 47.98, me-south-1
Tehran, IR, 35.69, 51.39, me-south-1
Abu Dhabi, AE, 24.45, 54.38, me-central-1
Dubai, AE, 25.20, 55.27, me-central-1
Muscat, OM, 23.59, 58.41, me-central-1
Salalah, OM, 17.02, 54.09, me-central-1
# the Indian subcontinent
Mumbai, IN, 19.08, 72.88, ap-south-1
Pune, IN, 18.52, 73.86, ap-south-1
Delhi, IN, 28.61, 77.21, ap-south-1
Bengaluru, IN, 12.97, 77.59, ap-south-1
Kolkata, IN, 22.57, 88.36, ap-south-1
Colombo, LK, 6.93, 79.86, ap-south-1
Malé, MV, 4.18, 73.51, ap-south-1
Karachi, PK, 24.86, 67.01, ap-south-1
Islamabad, PK, 33.68, 73.05, ap-south-1
Kathmandu, NP, 27.72, 85.32, ap-south-1
Dhaka, BD, 23.81, 90.41, ap-south-1
# south-east Asia
Kuala Lumpur, MY, 3.14, 101.69, ap-southeast-5
George Town, MY, 5.41, 100.33, ap-southeast-5
Medan, ID, 3.60, 98.67, ap-southeast-5
Phuket, TH, 7.88, 98.39, ap-southeast-5
Bangkok, TH, 13.76, 100.50, ap-southeast-5
Yangon, MM, 16.87, 96.20, ap-southeast-5
Singapore, SG, 1.35, 103.82, ap-southeast-1
Johor Bahru, MY, 1.49, 103.74, ap-southeast-1
Kuching, MY, 1.55, 110.34, ap-southeast-1
Jakarta, ID, -6.21, 106.85, ap-southeast-1
Surabaya, ID, -7.26, 112.75, ap-southeast-1
# around the South China Sea
Hong Kong, HK, 22.32, 114.17, ap-east-1
Shenzhen, CN, 22.54, 114.06, ap-east-1
Guangzhou, CN, 23.13, 113.26, ap-east-1
Macau, MO, 22.20, 113.55, ap-east-1
Taipei, TW, 25.03, 121.57, ap-east-1
Hanoi, VN, 21.03, 105.85, ap-east-1
Manila, PH, 14.60, 120.98, ap-east-1
# Korea and around the Yellow Sea; Fukuoka is nearer to Seoul than to Tokyo
Seoul, KR, 37.57, 126.98, ap-northeast-2
Busan, KR, 35.18, 129.08, ap-northeast-2
Fukuoka, JP, 33.59, 130.40, ap-northeast-2
Shanghai, CN, 31.23, 121.47, ap-northeast-2
Beijing, CN, 39.90, 116.40, ap-northeast-2
Vladivostok, RU, 43.12, 131.89, ap-northeast-2
Ulaanbaatar, MN, 47.89, 106.91, ap-northeast-2
# Japan and north of it
Tokyo, JP, 35.68, 139.69, ap-northeast-1
Nagoya, JP, 35.18, 136.91, ap-northeast-1
Osaka, JP, 34.69, 135.50, ap-northeast-1
Sendai, JP, 38.27, 140.87, ap-northeast-1
Sapporo, JP, 43.06, 141.35, ap-northeast-1
Petropavlovsk-Kamchatsky, RU, 53.02, 158.65, ap-northeast-1
Hagåtña, GU, 13.48, 144.75, ap-northeast-1
# Australia and the Pacific, on both sides of the date line
Sydney, AU, -33.87, 151.21, ap-southeast-2
Canberra, AU, -35.28, 149.13, ap-southeast-2
Melbourne, AU, -37.81, 144.96, ap-southeast-2
Hobart, AU, -42.88, 147.33, ap-southeast-2
Brisbane, AU, -27.47, 153.03, ap-southeast-2
Adelaide, AU, -34.93, 138.60, ap-southeast-2
Perth, AU, -31.95, 115.86, ap-southeast-2
Auckland, NZ, -36.85, 174.76, ap-southeast-2
Wellington, NZ, -41.29, 174.78, ap-southeast-2
Port Moresby, PG, -9.44, 147.18, ap-southeast-2
Nouméa, NC, -22.28, 166.46, ap-southeast-2
Suva, FJ, -18.14, 178.44, ap-southeast-2
Neiafu, TO, -18.65, -173.98, ap-southeast-2
Apia, WS, -13.83, -171.77, ap-southeast-2
Papeete, PF, -17.53, -149.57, ap-southeast-2
McMurdo, AQ, -77.85, 166.67, ap-southeast-2
"""
CASES = [line.split(", ") for line in CITIES.strip().splitlines() if not line.startswith("#")]


@pytest.mark.defect("S2-2")
@pytest.mark.parametrize(
    ("city", "country", "latitude", "longitude", "region"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_a_city_gets_its_nearest_region(city: str, country: str, latitude: str, longitude: str, region: str) -> None:
    best = choose(Location(float(latitude), float(longitude), country), RULES, COMMERCIAL)[0]
    assert (best.region, best.reason) == (region, "nearest")


@pytest.mark.defect("S2-2")
@pytest.mark.parametrize("city", ["Ashburn", "New York", "Boston", "Miami"])
def test_the_east_coast_is_sent_to_virginia_by_a_fleet_of_the_united_states(city: str) -> None:
    [(latitude, longitude)] = [(float(case[2]), float(case[3])) for case in CASES if case[0] == city]
    rules = Rules(regions=("us-east-1", "us-east-2", "us-west-1", "us-west-2"), default_region="us-west-2")
    assert choose(Location(latitude, longitude, "US"), rules, rules.regions)[0].region == "us-east-1"


def test_the_list_has_each_continent_and_each_region() -> None:
    assert len(CASES) >= 100
    assert len({(case[0], case[1]) for case in CASES}) == len(CASES)
    assert {COUNTRIES[case[1]] for case in CASES} == {"AF", "AN", "AS", "EU", "NA", "OC", "SA"}
    assert {case[4] for case in CASES} == set(COMMERCIAL)
